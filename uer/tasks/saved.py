"""Saved models opened for looking into them: filled strictly, on the device, in evaluation mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from uer.checkpoints import SEGMENT_TABLE, adapt_config, load_into
from uer.checkpoints.folder import open_folder
from uer.config.model import ModelConfig
from uer.models.build import build_body, build_model
from uer.models.empty import Unfilled
from uer.models.model import Model
from uer.tasks.body import stream_body
from uer.tasks.setup import encoder_config, one_sided, pick_device

FLAG = "--load_model_path"
# The head of a Hugging Face folder → the task whose models have it.
TASKS = {"cls": "classifier", "tok": "ner", "qa": "extractive_qa"}


def open_model(config: ModelConfig, path: str, vocab_size: int) -> Model:
    """The model of a configuration with its targets, filled from a file or folder.

    Raises:
        CheckpointError: the file does not fit.
    """
    with Unfilled():
        model = build_model(adapt_config(config, path, FLAG), vocab_size)
    return settled(model, path)


def open_encoder(config: ModelConfig, path: str, vocab_size: int, *, dual_stream: int | None = None) -> Model:
    """Embedding and encoder alone; heads and decoder of the file are left out.

    A table of segments that the flags ask for and the file lacks is 0, which changes nothing.

    Args:
        dual_stream: 0 or 1: of a dual model, that stream by itself; None where only one is expected.

    Raises:
        ConfigError: a dual model, which reads two texts, and no stream of it was named.
        CheckpointError: the file does not fit.
    """
    config = adapt_config(config, path, FLAG)
    dual = config.encoder == "dual" and dual_stream is not None
    with Unfilled():
        model = build_body(one_sided(config) if dual else encoder_config(config), vocab_size)
    model = settled(model, path, allow_new=(SEGMENT_TABLE,))
    return stream_body(model, dual_stream) if dual else model


def settled(model: nn.Module, path: str, *, allow_new: tuple[str, ...] = ()) -> nn.Module:
    """`model` filled from `path`, on the fastest device, in evaluation mode."""
    load_into(model, path, allow_new=allow_new, flag=FLAG, adopt=True)
    return model.to(pick_device()).eval().requires_grad_(False)


def task_of(path: str, extra: Mapping[str, Any]) -> str | None:
    """The downstream task that a model was fine-tuned for, by its companion or its folder; or None."""
    if "task" in extra:
        return extra["task"]
    folder = open_folder(path)
    return next((TASKS[part] for part in (folder.parts if folder else ()) if part in TASKS), None)
