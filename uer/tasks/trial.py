"""One trial of a search, in a process of its own: text that was read once, a fresh model, its scores told.

What all trials share lies in a folder: `train.npz`, `dev.npz`, `plan.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uer.config.finetune import ClassifierOptions, FinetuneOptions
from uer.config.model import ModelConfig
from uer.config.training import AdversarialOptions, OptimizerOptions, TrainOptions
from uer.errors import UerError
from uer.metrics import Metric, select
from uer.tasks.body import HEAD
from uer.tasks.classifier import ClassifierModel, ClassifierTask
from uer.tasks.finetune import finetune, shuffled
from uer.tasks.labels import LabelMap
from uer.tasks.predict import evaluate
from uer.tasks.rows import Examples
from uer.tasks.search import without_memory
from uer.tasks.setup import pick_precision, start_config, start_weights
from uer.tasks.study import Talk
from uer.training.memory import is_out_of_memory
from uer.training.run import Means
from uer.training.workers import Workers
from uer.utils.files import atomic_write
from uer.utils.seed import set_seed

GROUPS = (FinetuneOptions, ClassifierOptions, ModelConfig, OptimizerOptions, TrainOptions, AdversarialOptions)
"""the options whose flags may be searched"""
KEPT = ("seed", "overflow", "soft_targets", "class_weights", "target", "report_steps", "fp16", "best_metric")
"""flags of these groups that decide what is read or compared, and so are the same in all trials"""
IDLE = ("labels_num", "sp_labels_num", "decoder", "share_embedding", "tie_weights", "has_lmtarget_bias")
IDLE += ("prefix_lm_loss", "soft_temperature", "resume", "save_checkpoint_steps", "dry_run")
IDLE += ("tensorboard", "wandb", "swanlab")
"""flags of these groups that change no trial: the files decide, or a classifier has no such part"""


class _PrunedError(Exception):
    """Ends a trial that the search has given up."""


@dataclass
class _Padding:
    """All that batches need of a tokenizer whose work is done."""

    pad_id: int


def save_plan(
    folder: Path, task: ClassifierTask, train: Examples, dev: Examples, values: Mapping[str, Any], **more: Any
) -> None:
    """Write what all trials share.

    Args:
        values: all options of the run. more: further facts of the plan (vocab_size, threads, gpus).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, examples in (("train", train), ("dev", dev)):
        with atomic_write(folder / f"{name}.npz", "wb") as file:
            labels = {f"label_{key}": x for key, x in examples.labels.items()}
            arrays = {"ids": examples.ids, "seg": examples.seg, "offsets": examples.offsets}
            windows = {} if examples.of is None else {"of": examples.of}
            np.savez(file, **arrays, **windows, long=examples.long, **labels)
    plan = {
        "values": dict(values),
        "labels": list(task.labels.names),
        "area": task.area,
        "pad_id": task.tokenizer.pad_id,
        **more,
    }
    with atomic_write(folder / "plan.json") as file:
        json.dump(plan, file, ensure_ascii=False)


def read_examples(path: Path, seq_length: int) -> Examples:
    """What `save_plan` wrote, rows cut at `seq_length` ids as they would have been when read."""
    with np.load(path, allow_pickle=False) as held:
        labels = {name[6:]: held[name] for name in held.files if name.startswith("label_")}
        examples = Examples(held["ids"], held["seg"], held["offsets"], held["long"], labels)
        examples.of = held["of"] if "of" in held.files else None
    return examples.cut(seq_length)


def run_trial(folder: str, pipe: Connection, params: Mapping[str, Any], place: int) -> None:
    """Train with some values and say what came of it; see `uer.tasks.study.Talk`.

    Args:
        folder: where the plan lies. params: flag → value. place: number of the process, which picks its GPU.
    """
    try:
        pipe.send(_trial(Path(folder), Talk(pipe), params, place))
    except _PrunedError:
        pipe.send(("pruned",))
    except UerError as error:
        pipe.send(("failed", str(error)))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        pipe.send(("failed", without_memory(error)))


def _trial(folder: Path, talk: Talk, params: Mapping[str, Any], place: int) -> tuple[Any, ...]:
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    torch.set_num_threads(plan["threads"])
    if plan["gpus"]:
        torch.cuda.set_device(place % plan["gpus"])
    values = {**plan["values"], **params}
    options, head, config, optimization, training, adversarial = (group.pick(values) for group in GROUPS)
    set_seed(training.seed)
    labels = LabelMap(plan["labels"], options.train_path)
    task = ClassifierTask(_Padding(plan["pad_id"]), labels, area=plan["area"], seq_length=options.seq_length)
    config = start_config(config, options, labels_num=len(labels))
    model = ClassifierModel.build(config, plan["vocab_size"], soft_alpha=head.soft_alpha)
    start_weights(model, options, head=HEAD)
    model.to("cuda" if plan["gpus"] else "cpu")
    precision = pick_precision(training.precision, model)
    train, dev = (read_examples(folder / f"{name}.npz", options.seq_length) for name in ("train", "dev"))

    def score() -> Metric:
        """Evaluate, and end the trial when the search has given it up."""
        metric = evaluate(model, task, dev, batch_size=training.batch_size, precision=precision)
        if talk.report(select(metric.scores(), options.best_metric)):
            raise _PrunedError
        return metric

    best = finetune(
        model,
        task,
        shuffled(task, train, training),
        Means(training, optimization, Workers(precision.device)),
        options=options,
        adversarial=adversarial,
        precision=precision,
        score=score,
        quiet=True,
    )
    if not best.epoch:
        return "failed", "no epoch had a score that is a number"
    return "done", best.score, best.epoch
