"""Tensors from their names to ours and back, by the key map of a family."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from uer.checkpoints.families.family import Family
from uer.checkpoints.families.operations import OPERATIONS
from uer.checkpoints.families.rows import Row, each_layer
from uer.checkpoints.report import listed
from uer.config.model import ModelConfig
from uer.errors import CheckpointError

OUTPUTS = ("target.mlm.linear_2.weight", "target.lm.output_layer.weight")
POOLER = "target.sp.linear_1."
HEAD = "output_layer_1."
TGT_WORD = "tgt_embedding.word.embedding.weight"


def to_ours(
    family: Family,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    parts: Collection[str],
    wanted: Collection[str] = (),
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, str]]:
    """Their tensors under our names.

    Args:
        parts: the heads the file has.
        wanted: names of the model that takes them: a pooler goes to whichever of its heads begins with one.

    Returns:
        our name → tensor; their name → tensor of those that no row explains; their names of what holds
        nothing trained, with the reason.
    """
    ours: dict[str, Tensor] = {}
    left: dict[str, Tensor] = {}
    used: set[str] = set()
    aside: dict[str, str] = {}
    pooled = _pooled_head(family, parts, wanted)
    for entry in _rows(family, config, (*parts, "pooler"), pooled):
        found = [name for name in _names(family, entry) if name in state]
        if found:
            ours.update(zip(entry.ours, OPERATIONS[entry.operation].load(state[found[0]])))
            used.update(found)
    for name, tensor in state.items():
        if name in used:
            continue
        reasons = (reason for pattern, reason in family.ignored.items() if re.fullmatch(pattern, name))
        reason = next(reasons, None)
        if reason is None:
            left[name] = tensor
        else:
            aside[name] = reason
    return ours, left, aside


def moved_positions(state: Mapping[str, Tensor], pad: int, new_pad: int) -> dict[str, Tensor]:
    """Tensors of theirs whose table of positions begins behind another id of padding (`Family.from_pad`)."""
    out = dict(state)
    for name, table in state.items():
        if pad != new_pad and name.endswith("position_embeddings.weight"):
            out[name] = torch.cat([table.new_zeros(new_pad + 1, *table.shape[1:]), table[pad + 1 :]])
    return out


def expected(family: Family, config: ModelConfig, parts: Collection[str]) -> list[str]:
    """Our names of all tensors of a model of this family with these heads."""
    pooler = ("pooler",) if "sp" in parts or family.pooled & set(parts) else ()
    rows = _rows(family, config, (*parts, *pooler), _pooled_head(family, parts, ()))
    return list(dict.fromkeys(name for entry in rows for name in entry.ours))


def layers_of(family: Family, config: ModelConfig, part: str) -> dict[str, tuple[str, ...]]:
    """Their name of a layer → ours of the layers that it holds, one or several side by side, of a model with
    the head `part`.
    """
    parts, pooled = part.split(), _pooled_head(family, part.split(), ())
    if "sp" in parts or pooled == HEAD:
        parts.append("pooler")
    prefix, end = "" if part else family.prefix, ".weight"
    return {
        entry.theirs.removeprefix(prefix).removesuffix(end): tuple(x.removesuffix(end) for x in entry.ours)
        for entry in _rows(family, config, parts, pooled)
        if entry.operation in ("copy", "transpose", "split_transposed") and entry.theirs.endswith(end)
    }


def _pooled_head(family: Family, parts: Collection[str], wanted: Collection[str]) -> str:
    """Where a pooler belongs: to sentence prediction, or to the first layer of a downstream head."""
    if f"{HEAD}weight" in wanted and f"{POOLER}weight" not in wanted:
        kind = "cls" if "output_layer_2.weight" in wanted else "choice"
        return HEAD if kind in family.pooled else POOLER
    return HEAD if not wanted and family.pooled & set(parts) else POOLER


def _rows(family: Family, config: ModelConfig, parts: Collection[str], pooled: str) -> Iterator[Row]:
    """The rows of the body and these parts, layer by layer."""
    for entry in each_layer(family.rows, config.layers_num, config.decoder_depth):
        if entry.when and not getattr(config, entry.when):
            continue
        if entry.part == "pooler":
            entry = replace(entry, ours=tuple(name.replace(POOLER, pooled) for name in entry.ours))
        if entry.part in ("body", *parts):
            yield entry


def _names(family: Family, entry: Row) -> tuple[str, ...]:
    """Their names of a tensor, the usual one first; a file of the body alone has no prefix."""
    names = (entry.theirs, *entry.also)
    if not family.prefix:
        return names
    return names + tuple(name.removeprefix(family.prefix) for name in names if name.startswith(family.prefix))


def to_theirs(
    family: Family,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    part: str,
    *,
    every_name: bool = False,
) -> tuple[dict[str, Tensor], bool]:
    """Our tensors under their names.

    Args:
        part: a key of `family.classes`: the head that goes along.
        every_name: tensors that are one are written under each of their names, as UER-py's converters did.

    Returns:
        name → tensor, and whether output layer and embedding are one tensor (then only the embedding is
        there).

    Raises:
        CheckpointError: a tensor of ours has no place in this family, or one of theirs is missing.
    """
    parts = part.split()
    pooled, tied = _pooled_head(family, parts, ()), _tied(state)
    if "sp" in parts or pooled == HEAD or (not parts and f"{POOLER}weight" in state):
        parts.append("pooler")
    theirs: dict[str, Tensor] = {}
    used: set[str] = set()
    missing: list[str] = []
    for entry in _rows(family, config, parts, pooled):
        lacking = [name for name in entry.ours if name not in state]
        if lacking:
            missing += lacking
            continue
        used.update(entry.ours)
        if tied and entry.ours[0] in OUTPUTS and not every_name:
            continue
        tensor = OPERATIONS[entry.operation].save(*(state[name] for name in entry.ours))
        theirs[entry.theirs] = tensor.contiguous()
    _check_complete(family, state, missing, used)
    if family.shared is not None:
        _share(family, state, theirs, every_name or not tied)
    if family.tables is not None:
        theirs.update(family.tables(config))
    if part == "":
        theirs = {name.removeprefix(family.prefix): tensor for name, tensor in theirs.items()}
    return theirs, tied


def _tied(state: Mapping[str, Tensor]) -> bool:
    """Whether the output layer, if any, is the word embedding (of the target side, with a decoder)."""
    words = state.get(TGT_WORD, state.get("embedding.word.embedding.weight"))
    outputs = [state[name] for name in OUTPUTS if name in state]
    return words is not None and all(
        output.shape == words.shape and torch.equal(output, words) for output in outputs
    )


def _check_complete(family: Family, state: Mapping[str, Tensor], missing: list[str], used: set[str]) -> None:
    if missing:
        raise CheckpointError(
            f"the model lacks {listed(missing)}, which a {family.name} model has; "
            "choose another family by --family, or another head by --head."
        )
    extra = [name for name in state if name not in used and not name.startswith(("target.", "output_layer"))]
    if extra:
        raise CheckpointError(
            f"a {family.name} model has no place for {listed(extra)}; choose another family by --family."
        )


def _share(family: Family, state: Mapping[str, Tensor], theirs: dict[str, Tensor], every_name: bool) -> None:
    """Their encoder-decoders have one embedding for both sides, under a name of its own."""
    source, target = state["embedding.word.embedding.weight"], state[TGT_WORD]
    if source.shape != target.shape or not torch.equal(source, target):
        raise CheckpointError(
            f"the source and target embeddings differ, but a {family.name} model has one for both sides; "
            "train with --share_embedding to export it."
        )
    if not every_name:
        for entry in family.rows:
            if entry.ours[0] in ("embedding.word.embedding.weight", TGT_WORD):
                theirs.pop(entry.theirs, None)
    theirs[family.shared] = source
