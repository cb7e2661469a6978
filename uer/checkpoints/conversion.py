"""Files of weights between UER-py and Hugging Face, as UER-py's conversion commands make them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from uer.checkpoints.aliases import Canonical, canonical, fit_streams
from uer.checkpoints.companion import read_companion
from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import OUTPUTS, TGT_WORD, expected, to_ours, to_theirs
from uer.checkpoints.families.family import Family
from uer.checkpoints.io import State, read_state
from uer.checkpoints.report import listed, summary
from uer.checkpoints.sentence_bert import stream_of
from uer.config.model import ModelConfig
from uer.errors import CheckpointError
from uer.utils.logging import logger

FLAG = "--input_model_path"
WORD, POSITIONS = "embedding.word.embedding.weight", "embedding.pos.embedding.weight"
DUAL = tuple(f"embedding.dual.embedding_{stream}.word.embedding.weight" for stream in (0, 1))


def to_uer(
    path: str | Path, name: str, part: str, *, layers: int | None = None, decoder_layers: int | None = None
) -> State:
    """A Hugging Face file or folder as the state dict of UER-py 2024.

    Args:
        name: of the family; "sbert" is a BERT that fills both streams of a dual model.
        part: the head, a key of `Family.classes`.
        layers, decoder_layers: as the user typed them, to be held against the file.

    Raises:
        CheckpointError: it cannot be read, has another depth, or lacks tensors of the family.
    """
    family, raw = pick_family("bert" if name == "sbert" else name), read_state(path, FLAG)
    config = depths(path, family, raw, layers, decoder_layers, theirs=True)
    state, left, _ = to_ours(family, raw, config, part.split())
    wanted = expected(family, config, part.split())
    words = state.get(TGT_WORD, state.get(WORD))
    for output in OUTPUTS:
        if output in wanted and words is not None:
            state.setdefault(output, words)  # a tied output layer is stored once
    check_complete(path, name, wanted, state)
    left = {key: tensor for key, tensor in {**left, **state}.items() if key not in wanted}
    state = {key: state[key] for key in wanted}
    if left:
        logger.info("Left aside: %s.", summary(left))
    if name == "xlm-roberta":  # UER-py's table has their 514 rows, the last two of them unused
        table = state[POSITIONS]
        state[POSITIONS] = torch.cat([table, table.new_zeros(2, table.shape[1])])
    if name == "sbert":
        found = Canonical(state)
        fit_streams(found, DUAL)
        state = found.state
    return state


def to_hugging_face(
    path: str | Path,
    name: str,
    part: str,
    *,
    layers: int | None = None,
    decoder_layers: int | None = None,
    max_seq_length: int = 1024,
) -> State:
    """A file of UER-py, of any vintage, as the state dict of the family's class in `transformers`.

    Args:
        max_seq_length: rows of the sinusoidal table of PEGASUS.

    Raises:
        CheckpointError: it cannot be read, has another depth, or is another model.
    """
    family, found = pick_family("bert" if name == "sbert" else name), canonical(read_state(path, FLAG))
    state = stream_of(found.state, 0) if name == "sbert" else dict(found.state)
    config = depths(path, family, state, layers, decoder_layers, theirs=False)
    if name == "xlm-roberta" and POSITIONS in state and not state[POSITIONS][-2:].any():
        state[POSITIONS] = state[POSITIONS][:-2]
    if family.tables is not None and WORD in state:
        companion, width = read_companion(path), state[WORD].shape[1]
        sinusoid = companion.config.sinusoid if companion else "2021" if found.tables else "2024"
        logger.info("The sinusoidal table is written in the layout '%s'.", sinusoid)
        config = config.replace(
            emb_size=width, hidden_size=width, heads_num=1, max_seq_length=max_seq_length, sinusoid=sinusoid
        )
    wanted = expected(family, config, part.split())
    check_complete(path, name, wanted, state)
    kept = {
        key: tensor
        for key, tensor in state.items()
        if key in wanted or not key.startswith(("target.", "classifier."))
    }
    if len(kept) < len(state):
        logger.info("Left aside: %s.", summary(key for key in state if key not in kept))
    theirs, _ = to_theirs(family, kept, config, part, every_name=True)
    return theirs


def depths(
    path: str | Path,
    family: Family,
    state: Mapping[str, Tensor],
    layers: int | None,
    decoder_layers: int | None,
    *,
    theirs: bool,
) -> ModelConfig:
    """A configuration with the depth of the file, whose names are theirs or ours.

    Raises:
        CheckpointError: the user typed another one.
    """
    depth = {False: 0, True: 0}
    for entry in family.rows:
        if entry.layered:
            name = entry.theirs.removeprefix(family.prefix) if theirs else entry.ours[0]
            pattern = re.compile(r"(?:^|\.)" + re.escape(name).replace(r"\{\}", r"(\d+)") + "$")
            matches = (pattern.search(key) for key in state)
            held = [int(match.group(1)) + 1 for match in matches if match]
            depth[entry.decodes] = max([depth[entry.decodes], *held])
    for flag, typed, held in (
        ("--layers_num", layers, depth[False]),
        ("--decoder_layers_num", decoder_layers, depth[True]),
    ):
        if typed is not None and held and typed != held:
            raise CheckpointError(
                f"{path} has {held} layers, but {flag} is {typed}; leave it out or correct it."
            )
    return ModelConfig(layers_num=depth[False] or 1, decoder_layers_num=depth[True] or None)


def check_complete(path: str | Path, name: str, wanted: Iterable[str], state: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` when the state lacks tensors of the family."""
    missing = [key for key in wanted if key not in state]
    if missing:
        known = f"; it holds {summary(state)}" if state else "; none of its names is one (the other way?)"
        held = known if len(missing) > 10 or not state else ""
        raise CheckpointError(
            f"{path} is no {name} model, or one with another head: it lacks {listed(missing)}{held}."
        )
