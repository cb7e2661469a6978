"""A smaller model of some layers of a larger one, as students of distillation begin (Sanh et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from uer.checkpoints.companion import Companion, read_companion
from uer.checkpoints.io import State
from uer.checkpoints.source import read_source
from uer.errors import CheckpointError, ConfigError

LAYER = re.compile(r"(encoder\.transformer\.)(\d+)(\..*)")


def take_layers(path: str | Path, layers: Sequence[int]) -> tuple[State, Companion | None]:
    """Embedding, heads and these layers of the encoder, numbered anew, and the companion that says so.

    Args:
        path: a file of weights, or a Hugging Face model.
        layers: numbers from 1 on, in the order that they shall have.

    Raises:
        CheckpointError: the encoder has no layers of its own, as one that shares them.
        ConfigError: it has fewer layers than a number says.
    """
    companion = read_companion(path)
    state = read_source(path, flag="--load_model_path").state
    found = {int(match[2]) for name in state if (match := LAYER.fullmatch(name))}
    if not found:
        raise CheckpointError(f"{path} has no layers encoder.transformer.0, … to take; give a transformer.")
    if max(layers) > len(found):
        raise ConfigError(
            f"--layers names layer {max(layers)}, and {path} has {len(found)}; they count from 1."
        )
    out: State = {name: x for name, x in state.items() if not LAYER.fullmatch(name)}
    for name, x in state.items():
        if match := LAYER.fullmatch(name):
            for place, number in enumerate(layers):
                if number - 1 == int(match[2]):
                    out[f"{match[1]}{place}{match[3]}"] = x
    if companion is None:
        return out, None
    config = companion.config.replace(layers_num=len(layers))
    settings = {name: getattr(companion, name) for name in Companion.__dataclass_fields__}
    return out, Companion(**{**settings, "config": config})
