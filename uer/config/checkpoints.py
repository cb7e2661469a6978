"""Tools that read and write files of weights."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, option


@dataclass(frozen=True)
class AverageOptions(Options):
    """Averaging checkpoints."""

    model_list_path: tuple[str, ...] = option(
        help="two or more checkpoints of one model", required=True, metavar="FILE"
    )
    output_model_path: str = option(help="the average goes here", required=True, metavar="FILE")


@dataclass(frozen=True)
class VocabAdapterOptions(Options):
    """Fitting a model to another vocabulary."""

    old_model_path: str = option(help="the model to adapt", required=True, metavar="FILE")
    old_vocab_path: str | None = option(
        None, "its vocabulary (default: that of its companion folder)", metavar="FILE"
    )
    new_vocab_path: str = option(help="the vocabulary wanted", required=True, metavar="FILE")
    new_model_path: str = option(help="the adapted model goes here", required=True, metavar="FILE")
    seed: int = option(7, "of the rows of tokens that nothing is known about")
