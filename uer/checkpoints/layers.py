"""A smaller model of some layers of a larger one, as students of distillation begin (Sanh et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uer.checkpoints.companion import Companion, read_companion
from uer.checkpoints.io import State
from uer.checkpoints.source import read_source
from uer.checkpoints.teacher import without_teacher
from uer.errors import CheckpointError, ConfigError

LAYER = re.compile(r"(encoder\.transformer\.)(\d+)(\..*)")


def take_layers(
    path: str | Path, layers: Sequence[int] = (), student: int | None = None
) -> tuple[State, Companion | None]:
    """Embedding, heads and some layers of the encoder, numbered anew, and the companion that says so.

    Args:
        path: a file of weights, or a Hugging Face model.
        layers: numbers from 1 on, in the order that they shall have; none: all there are.
        student: instead of the model itself the student of this number that learnt from it, from 0 on.

    Raises:
        CheckpointError: the encoder has no layers of its own, as one that shares them; there is no student.
        ConfigError: it has fewer layers than a number says.
    """
    companion = read_companion(path)
    state = read_source(path, flag="--load_model_path").state
    if student is not None:
        state, companion = _student(path, state, companion, student)
    found = {int(match[2]) for name in state if (match := LAYER.fullmatch(name))}
    if not found:
        raise CheckpointError(f"{path} has no layers encoder.transformer.0, … to take; give a transformer.")
    layers = layers or range(1, len(found) + 1)
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
    return out, replace(companion, config=companion.config.replace(layers_num=len(layers)))


def _student(
    path: str | Path, state: State, companion: Companion | None, number: int
) -> tuple[State, Companion | None]:
    """The tensors of a student under the names of a model, and what it is."""
    prefix = f"target.students.{number}."
    own = {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}
    if not own:
        raise CheckpointError(f"{path} has no student {number}; they count from 0, as in the JSON config.")
    if companion is None:
        return own, None
    return own, replace(companion, config=without_teacher(companion.config.student(number)))
