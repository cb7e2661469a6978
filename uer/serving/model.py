"""A saved model opened for the page: what it is, and which of the page's abilities it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uer.checkpoints.companion import Companion, read_companion
from uer.checkpoints.folder import open_folder
from uer.checkpoints.io import check_exists
from uer.config.model import ModelConfig
from uer.embeddings.parts import positions_limit
from uer.errors import ConfigError
from uer.tasks.saved import task_of

if TYPE_CHECKING:
    from torch import nn

    from uer.tokenizers.base import Tokenizer


@dataclass
class Described:
    """What is known of a model before its weights are read.

    Attributes:
        path: as the user typed it.
        flags: what a command needs besides `--load_model_path`, for a file without a companion.
        described: whether somebody said which targets it has.
    """

    path: str
    config: ModelConfig
    tokenizer: Tokenizer
    companion: Companion | None = None
    flags: tuple[str, ...] = ()
    described: bool = True
    tgt_tokenizer: Tokenizer | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str | None:
        """The downstream task that the model was fine-tuned for, or None."""
        return task_of(self.path, self.extra)

    @property
    def is_folder(self) -> bool:
        """Whether it is a Hugging Face model."""
        return open_folder(self.path) is not None


def describe(path: str) -> Described:
    """A model that says by itself what it is.

    Raises:
        CheckpointError: there is none.
        ConfigError: it does not, or it brings no tokenizer.
    """
    from uer.tokenizers import load_tokenizer

    companion = read_companion(path)
    if companion is None or companion.tokenizer is None:
        check_exists(path, "--load_model_path")
        raise ConfigError(
            f"{path} does not say by itself what model it is and how it reads text; two models are compared "
            "when both have a companion folder, or are Hugging Face folders with their tokenizer."
        )
    target = None if companion.tgt_tokenizer is None else load_tokenizer(companion.tgt_tokenizer)
    return Described(
        path,
        companion.config,
        load_tokenizer(companion.tokenizer),
        companion,
        tgt_tokenizer=target,
        extra=companion.extra,
    )


def card(described: Described, ability: str, model: nn.Module, limit: int) -> dict[str, Any]:
    """What the page shows of a model."""
    config = described.config
    size = sum(parameter.numel() for parameter in model.parameters())
    return {
        "path": described.path,
        "name": Path(described.path).name,
        "ability": ability,
        "encoder": config.encoder if config.decoder is None else f"{config.encoder} → {config.decoder}",
        "pair": config.decoder is not None,
        "layers": config.layers_num,
        "width": config.hidden_size,
        "parameters": size,
        "vocabulary": len(described.tokenizer),
        "length": limit,
    }


def length_limit(model: Any, wanted: int) -> int:
    """Tokens of a text: what was asked for, or the model's positions where it has fewer."""
    embedding = model.embedding if getattr(model, "decoder", None) is None else model.tgt_embedding
    positions = positions_limit(embedding)
    return wanted if positions is None else min(wanted, positions)
