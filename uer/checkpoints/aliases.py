"""Names of weights in all vintages of UER-py, resolved key by key to those of 2024.

UER-py renamed its weights five times and its converters lagged behind, so one file may mix vintages. Each row
of `ALIASES` is one renaming; where the new name depends on the model (`target.output_layer`,
`target.linear_1`, the levels of a dual embedding), a function below looks at the names the model has and at
the rest of the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from uer.errors import CheckpointError

BEFORE_2022, BEFORE_2023, UER_2024 = "UER-py 2021", "UER-py 2019-2023", "UER-py 2024"
MIXED = "UER-py 2023"  # of converters, which lagged behind the model until October 2023
WRAPPER = "module."  # of DataParallel and DDP, when somebody saved the wrapped model
STREAMS = ("embedding_0.", "embedding_1.")


class Alias(NamedTuple):
    """One renaming: a pattern in an old name, what stands there today, and the last vintage that had it."""

    old: re.Pattern
    new: str
    vintage: str


ALIASES = tuple(
    Alias(re.compile(old), new, vintage)
    for old, new, vintage in (
        (r"^target\.decoder\.", "decoder.", BEFORE_2022),
        (r"^target\.embedding\.", "tgt_embedding.", BEFORE_2022),
        (r"(?<![^.])word_embedding\.", "word.embedding.", BEFORE_2023),
        (r"(?<![^.])position_embedding\.", "pos.embedding.", BEFORE_2023),
        (r"(?<![^.])segment_embedding\.", "seg.embedding.", BEFORE_2023),
        (r"^target\.mlm_linear_", "target.mlm.linear_", BEFORE_2023),
        (r"^target\.(?:nsp|sop)_linear_", "target.sp.linear_", BEFORE_2022),
        (r"^target\.sp_linear_", "target.sp.linear_", BEFORE_2023),
        (r"^target\.layer_norm\.", "target.mlm.layer_norm.", BEFORE_2023),
    )
)
SINUSOID = re.compile(r"^(?:tgt_)?embedding\.(?:embedding_[01]\.)?pe$")


@dataclass
class Canonical:
    """A state under the names of 2024.

    Attributes:
        state: name → tensor.
        origin: canonical name → name in the file, where they differ.
        vintage: which names the file had, for messages.
        tables: sinusoidal tables that the file carries (`pe`, until 2023): they select the layout of 2021.
        aside: names in the file of what is not loaded, and why.
    """

    state: dict[str, Tensor]
    origin: dict[str, str] = field(default_factory=dict)
    vintage: str = UER_2024
    tables: dict[str, Tensor] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)


def canonical(state: Mapping[str, Tensor], wanted: Collection[str] = ()) -> Canonical:
    """Rename every tensor to its name of 2024.

    Args:
        state: name → tensor as read from a file.
        wanted: names of the model that will take them; they decide what `target.output_layer` and the levels
            of a dual embedding mean, and make a single-stream file fill both streams of a dual model.

    Raises:
        CheckpointError: two different tensors end up under one name.
    """
    names = {name: name for name in state}
    if names and all(name.startswith(WRAPPER) for name in names):
        names = {name: name[len(WRAPPER) :] for name in names}
    vintages: set[str] = set()
    for name in names:
        for alias in ALIASES:
            renamed = alias.old.sub(alias.new, names[name])
            if renamed != names[name]:
                vintages.add(alias.vintage)
                names[name] = renamed
    _rename_heads(names, state, wanted, vintages)
    result = Canonical({})
    for name, new in names.items():
        if SINUSOID.match(new):
            result.tables[new] = state[name]
            result.aside[name] = "sines and cosines, computed here"
            vintages.add(BEFORE_2023)
        else:
            _put(result, new, state[name], name)
    fit_streams(result, wanted)
    result.vintage = _vintage([name.removeprefix(WRAPPER) for name in state], vintages)
    return result


def _put(result: Canonical, name: str, tensor: Tensor, origin: str) -> None:
    if name in result.state and not torch.equal(result.state[name], tensor):
        raise CheckpointError(
            f"the file holds two different tensors for {name}: '{result.origin.get(name, name)}' and "
            f"'{origin}'; expected one of them; remove the stale one."
        )
    result.state[name] = tensor
    if name != origin:
        result.origin[name] = origin


def _rename_heads(
    names: dict[str, str], state: Mapping[str, Tensor], wanted: Collection[str], vintages: set[str]
) -> None:
    """`target.output_layer` and `target.linear_N`, whose meaning depends on the target."""
    shapes = {new: tuple(state[name].shape) for name, new in names.items()}
    prompt = _is_prompt_head(shapes)
    if prompt:
        vintages.discard(BEFORE_2023)  # the layer norm of such a head has its old name to this day
    heads = {
        "target.output_layer.": (f"target.{_language_model(shapes, wanted)}.output_layer.", BEFORE_2023),
        "target.linear_": ("target.mlm.linear_", UER_2024) if prompt else ("target.cls.linear_", BEFORE_2023),
    }
    for name, new in names.items():
        for old, (today, vintage) in heads.items():
            if new.startswith(old):
                names[name] = today + new[len(old) :]
                vintages.add(vintage)


def _language_model(shapes: Mapping[str, tuple[int, ...]], wanted: Collection[str]) -> str:
    """Which target: the model's, else bilm if the output layer is half as wide as the encoder's output.

    Only two separate recurrent stacks feed a bilm target, and each gives half of the width.
    """
    for target in ("lm", "bilm"):
        if f"target.{target}.output_layer.weight" in wanted:
            return target
    width = shapes.get("target.output_layer.weight", (0, 0))[1]
    return "bilm" if shapes.get("encoder.rnn_forward.weight_hh_l0", (0, -1))[1] == width else "lm"


def _is_prompt_head(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether `target.linear_1/2` is the masked-language-model head of a prompt model of 2024.

    Then a layer norm stands beside them, no MLM head has its own names, and `linear_2` has one row a token.
    """
    if "target.mlm.layer_norm.gamma" not in shapes or "target.mlm.linear_1.weight" in shapes:
        return False
    output, words = shapes.get("target.linear_2.weight"), shapes.get("embedding.word.embedding.weight")
    return output is not None and words is not None and output[0] == words[0]


def fit_streams(result: Canonical, wanted: Collection[str]) -> None:
    """Bring dual embeddings to the level the model has; spread a single stream over both."""
    level = next(
        (
            prefix
            for prefix in ("embedding.dual.", "embedding.")
            if any(n.startswith(prefix + STREAMS[0]) for n in wanted)
        ),
        None,
    )
    if level is None:
        return
    other = "embedding." if level == "embedding.dual." else "embedding.dual."
    for name in list(result.state):
        part = name[len(other) :] if name.startswith(other) else ""
        if part.startswith((*STREAMS, "stream_0_layer_norm.", "stream_1_layer_norm.")):
            _put(result, level + part, result.state.pop(name), result.origin.pop(name, name))
    _spread(result, "embedding.", tuple(level + stream for stream in STREAMS))
    _spread(result, "encoder.", ("encoder.encoder_0.", "encoder.encoder_1."))


def _spread(result: Canonical, single: str, streams: tuple[str, ...]) -> None:
    """Move every tensor under `single` into both streams, unless the file has the streams already."""
    if any(name.startswith(streams) for name in result.state):
        return
    for name in [name for name in result.state if name.startswith(single)]:
        tensor, origin = result.state.pop(name), result.origin.pop(name, name)
        for stream in streams:
            _put(result, stream + name[len(single) :], tensor, origin)


def _vintage(names: Collection[str], vintages: set[str]) -> str:
    """Whose names a file had: the last vintage that wrote the oldest of them."""
    if not any(name.startswith(("embedding.", "encoder.", "target.", "decoder.")) for name in names):
        return "unknown"
    if BEFORE_2022 in vintages:
        return BEFORE_2022
    if BEFORE_2023 in vintages:
        return MIXED if any(".word.embedding." in name for name in names) else BEFORE_2023
    return UER_2024
