"""A search in processes from its options: the space, the data base, the page, the best command line."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from uer.config.finetune import GridOptions, SingleTextOptions
from uer.config.options import field_types
from uer.config.space import Range, parse_space
from uer.config.tokenizer import TokenizerOptions
from uer.errors import ConfigError
from uer.tasks.finetune import Finetuning, patience_of
from uer.tasks.rows import Examples
from uer.tasks.search import search_key
from uer.tasks.study import Attempt, Study, best_attempt, places
from uer.tasks.trial import GROUPS, IDLE, KEPT, run_trial, save_plan
from uer.training.search_page import word, write_search_page
from uer.utils.logging import logger

LISTS = ("batch_size", "learning_rate", "epochs_num")
"""the flags that UER's lists are of, in the order in which a grid goes through them"""
OF_2021 = ("data_processor", "objective_2021")
"""what `--target` of 2021 says besides targets; fine-tuning has no such flags"""


def searchable() -> dict[str, type]:
    """The flags that may be searched, and their types."""
    found: dict[str, type] = {}
    for group in GROUPS:
        kinds = field_types(group)
        for entry in dataclasses.fields(group):
            kind, many = kinds[entry.name]
            fixed = (
                entry.metadata["json_only"] or entry.name.endswith("_path") or entry.name in (*KEPT, *IDLE)
            )
            if not many and not fixed and kind in (int, float, bool, str):
                found[entry.name] = kind
    return found


def read_space(options: GridOptions, written: Mapping[str, Any], seq_length: int) -> dict[str, Range]:
    """What is searched: `--search_space`, with the lists that were typed; the lists alone without it.

    Raises:
        ConfigError: see `parse_space`; a grid over a range; rows that would be longer than those read.
    """
    space = parse_space(options.search_space, searchable())
    for name in LISTS:
        if f"{name}_list" not in written and options.search_space:
            continue
        if name in space:
            raise ConfigError(f"--{name}_list and --search_space both name {name}; leave one of them out.")
        space[name] = Range(name, "choice", getattr(options, f"{name}_list"))
    for name, entry in space.items():
        if options.search == "grid" and entry.listed is None:
            raise ConfigError(
                f"--search grid tries all values, but {name} is drawn from a range; list them by "
                f"{name}=choice(…), or use --search random or tpe."
            )
    longest = max(space["seq_length"].values) if "seq_length" in space else seq_length
    if longest > seq_length:
        raise ConfigError(
            f"--search_space goes up to seq_length {longest}, but the text is read once, at --seq_length "
            f"{seq_length}; raise that."
        )
    return space


def run_search(
    effective: Mapping[str, Any],
    options: GridOptions,
    written: Mapping[str, Any],
    common: Finetuning,
    train: Examples,
    dev: Examples,
) -> int:
    """Search, say UER's lines, leave `search.html`.

    Args:
        effective, written: all options, and those that were typed.
        common: task, model and options of the run. train, dev: read once, for all trials.
    """
    run, task = common.options, common.task
    patience_of(task, run)  # a wrong name of a metric would fail every trial
    space = read_space(options, written, run.seq_length)
    if run.overflow == "window" and "seq_length" in space:
        raise ConfigError(
            "--search_space names seq_length, but windows are cut once, at --seq_length; take it out, or "
            "choose --overflow truncate."
        )
    folder = Path(f"{run.output_model_path}.search")
    workers, threads = places(options.workers_num, torch.cuda.device_count())
    facts = {"vocab_size": len(task.tokenizer), "threads": threads, "gpus": torch.cuda.device_count()}
    save_plan(folder, task, train, dev, effective, **facts)
    study = _study(effective, options, common, space, folder)
    total = study.queue_grid() if options.search == "grid" else options.trials_num
    metric = run.best_metric or next(iter(task.metric().scores()))
    logger.info(f"{total} trials, {workers} at a time with {threads} threads each.")

    def after(attempt: Attempt) -> None:
        """Say what came of a trial, and bring the page up to date."""
        attempts = study.attempts()
        result = attempt.note or f"{metric} {attempt.score:.4f} in epoch {attempt.epoch}"
        logger.info(f"Trial {len(attempts)}/{total} {attempt.params}: {result}")
        best = best_attempt(attempts)
        logger.info(f"On configuration: {best.params if best else {}}.\n")
        show(attempts)

    def show(attempts: Sequence[Attempt]) -> None:
        """Write the page."""
        best = best_attempt(attempts)
        command = command_line(written, best.params) if best else None
        rows = [dataclasses.asdict(attempt) for attempt in attempts]
        write_search_page(folder / "search.html", folder.name, metric, rows, command, total)

    attempts = study.run(partial(run_trial, str(folder)), total, workers, after)
    show(attempts)
    best = best_attempt(attempts)
    print(table_text(attempts, metric))
    name = "Acc." if metric == "acc" else metric
    logger.info(f"Best {name} is: {best.score:.4f}, on configuration {best.params}.")
    logger.info(f"The page of the search: {folder / 'search.html'}")
    print(command_line(written, best.params))
    return 0


def _study(
    effective: Mapping[str, Any],
    options: GridOptions,
    common: Finetuning,
    space: Mapping[str, Range],
    folder: Path,
) -> Study:
    """The data base of the trials, under a name of all that decides their results."""
    run = common.options
    key = search_key(
        {name: value for name, value in effective.items() if name not in space},
        (run.train_path, run.dev_path, run.pretrained_model_path),
        tokenizer=common.task.tokenizer.fingerprint(),
        space=[str(entry) for entry in space.values()],
        how=(options.search, options.pruner),
    )
    return Study(
        Path(options.study_path or folder / "study.db"),
        key,
        space,
        how=options.search,
        pruner=options.pruner,
        seed=common.training.seed,
    )


def command_line(written: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """The command that trains a classifier with the values of a trial, ready to paste.

    Args:
        written: the flags that were typed for the search.
    """
    groups = (*GROUPS, SingleTextOptions, TokenizerOptions)
    spelled = {entry.name for group in groups for entry in dataclasses.fields(group) if entry.default is True}
    words = ["python3", "finetune/run_classifier.py"]
    for name, value in {**written, **params}.items():
        if name in (*GridOptions.names(), *OF_2021) or value is None:
            continue
        if isinstance(value, bool) and name not in spelled:
            words += [f"--{name}"] * value
        elif isinstance(value, (tuple, list)):
            words += [f"--{name}", *map(str, value)]
        else:
            words += [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]
    return shlex.join(words)


def table_text(attempts: Sequence[Attempt], metric: str) -> str:
    """The trials as a table for reading, the best marked."""
    best = best_attempt(attempts)
    names = list(dict.fromkeys(name for attempt in attempts for name in attempt.params))
    rows = [(*names, metric, "epoch", "seconds", "")]
    for attempt in attempts:
        values = [word(attempt.params.get(name, "")) for name in names]
        score = "–" if attempt.score is None else f"{attempt.score:.4f}"
        note = "best" if attempt is best else attempt.note
        rows.append((*values, score, str(attempt.epoch), f"{attempt.seconds:.1f}", note))
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    lines = ("  ".join([*map(str.rjust, row, widths), row[-1]]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
