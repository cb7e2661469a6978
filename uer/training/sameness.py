"""Whether a run that is to go on is the one of the checkpoint: what may differ, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uer.config.model import ModelConfig
from uer.errors import CheckpointError

# Options that make another run of it when they change …
CHANGEABLE_MODEL = ("dropout", "label_smoothing")
FIXED = (
    *(name for name in ModelConfig.names() if name not in CHANGEABLE_MODEL),
    *("accumulation_steps", "seed"),
    *("optimizer", "adam_bias_correction", "freeze", "ema_decay", "group_by_length", "folds_num"),
)
# … and options that its numbers do not depend on; any other change is said.
FREE = (
    *("report_steps", "save_checkpoint_steps", "save_total_limit", "resume", "max_bad_steps"),
    *("eval_dataset_path", "eval_steps", "gradient_checkpointing"),
    *("tensorboard", "wandb", "swanlab", "dry_run", "fp16"),
    *("verbose", "log_path", "log_level", "log_file_level", "master_ip", "gpu_ranks", "backend"),
    *("dataset_path", "output_model_path", "pretrained_model_path", "config_path"),
    *("engine", "deepspeed", "deepspeed_config", "timeout", "train_path", "dev_path", "test_path"),
)
# … and what a run keeps as it was chosen at its start, whatever is typed.
KEPT = ("precision", "micro_batches")


def changes(path: Path, training: Mapping[str, Any], options: Mapping[str, Any], dataset: str) -> list[str]:
    """What has changed since, one line a change that may be.

    Args:
        path: the checkpoint's weights. training: the content of its `training.json`.
        options, dataset: of the run that is to go on from it.

    Raises:
        CheckpointError: it belongs to a run on other data, or of another kind.
    """
    fresh = f"or leave out --resume and type --pretrained_model_path {path} to start a new run from it"
    if training["dataset"] != dataset:
        raise CheckpointError(
            f"{path} belongs to a run on another dataset (fingerprint {training['dataset']}, "
            f"now {dataset}); give the dataset of that run, {fresh}."
        )
    rows = [_rows(values) for values in (training["options"], options)]
    if rows[0] != rows[1]:
        raise CheckpointError(
            f"{path} belongs to a run with batches of {rows[0]} rows over all workers, now they "
            f"have {rows[1]}; change --batch_size, {fresh}."
        )
    notes = []
    for name, before in training["options"].items():
        now = options.get(name, before)
        if now == before or name in FREE:
            continue
        if name in KEPT:
            kept = training.get(name, now)
            if now not in ("auto", kept):
                notes.append(f"--{name} {now} has no effect: the run goes on as it began, with {kept}.")
            continue
        if name in FIXED:
            raise CheckpointError(
                f"{path} belongs to a run with {name} {before}, now it is {now}; "
                f"give what that run had, {fresh}."
            )
        notes.append(f"--{name} was {before} and is {now} from here on: not the numbers of one run.")
    return notes


def _rows(options: Mapping[str, Any]) -> int:
    """Rows of a batch over all workers: with the same number no instance is lost or repeated."""
    return options.get("rows", options["batch_size"] * options.get("world_size", 1))
