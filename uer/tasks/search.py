"""A search over settings: its finished trials lie in a table, so that a search that was killed goes on."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from uer import __version__
from uer.config.finetune import FinetuneOptions, GridOptions
from uer.config.run import LogOptions
from uer.config.training import OptimizerOptions, TrainOptions
from uer.errors import DataError, MemoryFault, UerError
from uer.tasks.evaluations import Best
from uer.tasks.finetune import Finetuning, finetune, shuffled
from uer.tasks.rows import Examples
from uer.training.memory import is_out_of_memory
from uer.utils.files import atomic_write, sha256
from uer.utils.logging import logger


@dataclass(frozen=True)
class Setting:
    """What one trial tries."""

    learning_rate: float
    batch_size: int
    epochs_num: int

    def to_dict(self) -> dict[str, float | int]:
        """In UER's order of keys."""
        return asdict(self)


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes:
        score: of the selecting metric in the best epoch; None when the trial failed.
        epoch: the best epoch, from 1.
        seconds: it took.
        note: why it failed.
    """

    setting: Setting
    score: float | None
    epoch: int
    seconds: float
    note: str = ""


def grid(options: GridOptions) -> list[Setting]:
    """All settings of a grid, in UER's order: batch size, then learning rate, then epochs."""
    product = itertools.product(options.batch_size_list, options.learning_rate_list, options.epochs_num_list)
    return [Setting(rate, size, epochs) for size, rate, epochs in product]


class Plan(NamedTuple):
    """The options of one trial."""

    options: FinetuneOptions
    training: TrainOptions
    optimization: OptimizerOptions


def planned(
    asked: GridOptions, options: FinetuneOptions, training: TrainOptions, optimization: OptimizerOptions
) -> dict[Setting, Plan]:
    """The options of every trial of a grid, made before the first begins.

    Raises:
        ConfigError: a setting cannot work.
    """
    return {
        setting: Plan(
            options.replace(epochs_num=setting.epochs_num),
            training.replace(batch_size=setting.batch_size),
            optimization.replace(learning_rate=setting.learning_rate),
        )
        for setting in grid(asked)
    }


def attempts(
    common: Finetuning, plans: Mapping[Setting, Plan], train: Examples, dev: Examples
) -> Callable[[Setting], Best]:
    """What runs a trial: from the same weights and seed, whatever was tried before."""
    start = {name: x.clone() for name, x in common.model.state_dict().items()}

    def attempt(setting: Setting) -> Best:
        """One trial."""
        options, training, optimization = plans[setting]
        common.model.load_state_dict(start)
        return finetune(
            common.model,
            common.task,
            shuffled(common.task, train, training),
            replace(common.means, training=training, optimization=optimization),
            options=options,
            adversarial=common.adversarial,
            precision=common.precision,
            score=lambda: common.evaluate(dev),
            quiet=True,
        )

    return attempt


def search_key(options: Mapping[str, Any], files: Iterable[str | None], **further: Any) -> str:
    """A short name of everything that decides a trial's result besides its setting.

    Where things lie (`…_path`) and what is said do not decide; what the files hold does.

    Args:
        options: all options of the run.
        files: the files that are read; None for one that was not named.
        further: what else decides (precision, tokenizer).
    """
    outside = {
        *LogOptions.names(),
        *GridOptions.names(),
        *(field.name for field in fields(Setting)),
        "report_steps",
    }
    relevant = {
        name: value for name, value in options.items() if name not in outside and not name.endswith("_path")
    }
    sums = [sha256(path) if path else "" for path in files]
    versions = [__version__, torch.__version__]
    text = json.dumps([relevant, sums, versions, further], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class TrialTable:
    """A CSV file of finished trials, of this search and of others.

    Args:
        path: the file; made with the first trial.
        key: see `search_key`; rows of other searches are kept, not used.
        metric: name of the selecting score, a column of the file.

    Raises:
        DataError: the file is not such a table.
    """

    COLUMNS = (
        "search",
        *(field.name for field in fields(Setting)),
        "metric",
        "score",
        "epoch",
        "seconds",
        "note",
    )

    def __init__(self, path: str | Path, key: str, metric: str) -> None:
        self.path, self.key, self.metric = Path(path), key, metric
        self.done = {
            trial.setting: trial
            for trial in map(self._trial, self._rows())
            if trial is not None and trial.score is not None
        }

    def add(self, trial: Trial) -> None:
        """Keep a trial; the file is replaced whole."""
        self.done[trial.setting] = trial
        row = {
            "search": self.key,
            **trial.setting.to_dict(),
            "metric": self.metric,
            "score": "" if trial.score is None else trial.score,
            "epoch": trial.epoch,
            "seconds": round(trial.seconds, 2),
            "note": trial.note,
        }
        rows = [*self._rows(), row]
        with atomic_write(self.path) as file:
            writer = csv.DictWriter(file, self.COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with open(self.path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != self.COLUMNS:
                raise DataError(
                    "is no table of trials; name another file with --grid_path, or move this one away.",
                    path=self.path,
                )
            return list(reader)

    def _trial(self, row: Mapping[str, str]) -> Trial | None:
        if row["search"] != self.key or row["metric"] != self.metric:
            return None
        try:
            setting = Setting(float(row["learning_rate"]), int(row["batch_size"]), int(row["epochs_num"]))
            score = float(row["score"]) if row["score"] else None
            return Trial(setting, score, int(row["epoch"]), float(row["seconds"]), row["note"])
        except ValueError as error:
            raise DataError(f"a row cannot be read ({error}); mend or remove it.", path=self.path) from error


def search(settings: Sequence[Setting], table: TrialTable, attempt: Callable[[Setting], Best]) -> Trial:
    """Try every setting that has no finished trial yet, say UER's lines and print the table of all.

    Args:
        attempt: trains with a setting. Running out of memory, or of finite numbers, fails the trial only.

    Returns:
        the best trial.

    Raises:
        UerError: all trials failed.
    """
    finished = sum(setting in table.done for setting in settings)
    if finished:
        logger.info(f"{table.path}: {finished} of {len(settings)} trials are finished and not run again.")
    for number, setting in enumerate(settings, 1):
        if setting not in table.done:
            table.add(_try(setting, attempt))
        trial = table.done[setting]
        result = trial.note
        if trial.score is not None:
            result = f"{table.metric} {trial.score:.4f} in epoch {trial.epoch}"
        logger.info(f"Trial {number}/{len(settings)} {setting.to_dict()}: {result}")
        best = best_of(table.done[other] for other in settings[:number])
        logger.info(f"On configuration: {best.setting.to_dict() if best else {}}.\n")
    trials = [table.done[setting] for setting in settings]
    print(table_text(trials, table.metric))
    best = best_of(trials)
    if best is None:
        raise UerError(f"all {len(trials)} trials failed; {table.path} has the reason of each.")
    name = "Acc." if table.metric == "acc" else table.metric
    logger.info(f"Best {name} is: {best.score:.4f}, on configuration {best.setting.to_dict()}.")
    return best


def _try(setting: Setting, attempt: Callable[[Setting], Best]) -> Trial:
    began = time.perf_counter()
    try:
        best = attempt(setting)
    except UerError as error:
        if type(error) not in (UerError, MemoryFault):  # a fault of files or flags: every trial would meet it
            raise
        return Trial(setting, None, 0, time.perf_counter() - began, str(error))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return Trial(setting, None, 0, time.perf_counter() - began, without_memory(error))
    if not best.epoch:
        return Trial(setting, None, 0, time.perf_counter() - began, "no epoch had a score that is a number")
    return Trial(setting, best.score, best.epoch, time.perf_counter() - began)


def without_memory(error: BaseException) -> str:
    """Why a trial failed for which there was no memory, in one line."""
    return f"out of memory: {str(error).splitlines()[0] if str(error) else 'no room left'}"


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """The trial with the highest score, the first of equal ones; None when all failed."""
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: trial.score) if scored else None


def table_text(trials: Iterable[Trial], metric: str) -> str:
    """The trials as a table for reading, the best marked."""
    trials = list(trials)
    best = best_of(trials)
    rows = [("learning_rate", "batch_size", "epochs_num", metric, "epoch", "seconds", "")]
    for trial in trials:
        score = "failed" if trial.score is None else f"{trial.score:.4f}"
        rows.append(
            (
                *map(str, trial.setting.to_dict().values()),
                score,
                str(trial.epoch),
                f"{trial.seconds:.1f}",
                "best" if trial is best else trial.note,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    lines = ("  ".join([*map(str.rjust, row, widths), row[-1]]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
