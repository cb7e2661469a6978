"""What a path holds, under our names: a file of any vintage, or a Hugging Face model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from uer.checkpoints.aliases import Canonical, canonical, fit_streams
from uer.checkpoints.families.convert import OUTPUTS, TGT_WORD, moved_positions, to_ours
from uer.checkpoints.folder import Folder, local, open_folder, tensorflow_checkpoint
from uer.checkpoints.io import State, read_state


def read_source(
    path: str | Path, wanted: Collection[str] = (), flag: str = "--pretrained_model_path"
) -> Canonical:
    """All tensors of a file, a folder or `hf:owner/name`, under the names of UER-py 2024.

    Args:
        wanted: names of the model that will take them.

    Raises:
        CheckpointError: it cannot be read, or is a folder of an unknown family.
    """
    folder = open_folder(path)
    if folder is None:
        return canonical(read_state(local(path), flag), wanted)
    state = _weights(folder, flag)
    if folder.family.from_pad:
        state = moved_positions(state, folder.values.get("pad_token_id", 1), 1)
    ours, left, aside = to_ours(folder.family, state, folder.config(), folder.parts, wanted)
    found = Canonical({**ours, **left}, vintage=f"Hugging Face {folder.family.name}", aside=aside)
    fit_streams(found, wanted)
    return found


def read_whole(path: str | Path, flag: str) -> State:
    """As `read_source`, and of a Hugging Face model the tied output layer too, which it stores once."""
    state, folder = dict(read_source(path, flag=flag).state), open_folder(path)
    if folder is not None and folder.config().tie_weights:
        words = state.get(TGT_WORD, state.get("embedding.word.embedding.weight"))
        for name in OUTPUTS:
            if words is not None and name.split(".")[1] in folder.parts:
                state.setdefault(name, words)
    return state


def _weights(folder: Folder, flag: str) -> State:
    """The tensors of a folder, under its own names."""
    checkpoint = tensorflow_checkpoint(folder.path)
    if checkpoint is None:
        return read_state(folder.weights, flag)
    from uer.checkpoints.original import read_checkpoint

    return read_checkpoint(checkpoint)
