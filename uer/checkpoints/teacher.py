"""A frozen teacher: what it is made of, and its weights."""

from __future__ import annotations

from pathlib import Path

from uer.checkpoints.companion import read_companion
from uer.checkpoints.loader import SEGMENT_TABLE, load_into
from uer.config.model import PARTNERS, ModelConfig
from uer.errors import ConfigError
from uer.models.model import Model
from uer.models.teacher import soft_head


def with_teacher(config: ModelConfig, path: str | Path | None) -> ModelConfig:
    """The configuration with the settings of its teacher: those that its weights come with, over them those
    of the key `teacher`.

    Args:
        path: of the weights; None: `--teacher_path` was not typed.

    Raises:
        ConfigError: a target needs a teacher and there is no path, or there is one that no target needs.
        CheckpointError: the path cannot be read.
    """
    needing = [name for name in config.target if name in PARTNERS["teacher"]]
    if not needing:
        if path is not None:
            raise ConfigError(
                f"--teacher_path has no meaning for --target {' '.join(config.target)}; leave it out, or add "
                f"one of {', '.join(PARTNERS['teacher'])}."
            )
        return config
    if path is None:
        raise ConfigError(
            f"--target {' '.join(needing)} learns from a teacher; name its weights with --teacher_path."
        )
    found = read_companion(path)
    settings = {} if found is None else found.config.settings()
    head = [soft_head(config)] if "soft" in needing else []
    return config.replace(teacher={**settings, "target": head, **(config.teacher or {})})


def load_teacher(model: Model, path: str | Path) -> None:
    """Fill the teacher of a model.

    Raises:
        CheckpointError: the weights do not fit.
    """
    load_into(model.teacher, path, allow_new=(SEGMENT_TABLE,), flag="--teacher_path")


def without_teacher(config: ModelConfig) -> ModelConfig:
    """What is saved of a configuration: the model can do without the teacher and what learnt from it."""
    targets = tuple(name for name in config.target if name not in PARTNERS["teacher"])
    return config.replace(target=targets, teacher=None, teacher_layers=None)
