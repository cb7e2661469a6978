"""Original TensorFlow checkpoints of BERT and ALBERT, read and written through TensorFlow itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from uer.checkpoints.aliases import canonical
from uer.checkpoints.conversion import FLAG, POSITIONS, WORD, check_complete, depths
from uer.checkpoints.families.convert import expected, to_ours, to_theirs
from uer.checkpoints.families.original import ORIGINAL_ALBERT, ORIGINAL_BERT
from uer.checkpoints.io import State, read_state
from uer.errors import CheckpointError
from uer.utils.files import write_fault
from uer.utils.lazy import optional
from uer.utils.logging import logger

FAMILIES = {"bert": ORIGINAL_BERT, "albert": ORIGINAL_ALBERT}
OUTPUT = "target.mlm.linear_2.weight"
ROWS = 512  # positions that UER-py keeps


def from_original(path: str | Path, name: str, part: str, layers: int | None = None) -> State:
    """A TensorFlow checkpoint as the state dict of UER-py 2024.

    Raises:
        CheckpointError: it cannot be read, has another depth, or is another model.
        EnvironmentFault: TensorFlow is not installed.
    """
    family, raw = FAMILIES[name], read_checkpoint(path)
    config = depths(path, family, raw, layers, None, theirs=True)
    state, _, _ = to_ours(family, raw, config, part.split())
    if WORD in state:
        state[OUTPUT] = state[WORD]
    if POSITIONS in state:
        state[POSITIONS] = state[POSITIONS][:ROWS]
    wanted = [*expected(family, config, part.split()), OUTPUT]
    check_complete(path, name, wanted, state)
    return {key: state[key].contiguous() for key in wanted}


def to_original(path: str | Path, target: str | Path, name: str, part: str, layers: int | None = None) -> int:
    """Write a file of UER-py, of any vintage, as a TensorFlow checkpoint; the number of its tensors.

    Raises:
        CheckpointError: it cannot be read, has another depth, or is another model.
        EnvironmentFault: TensorFlow is not installed, or the file cannot be written.
    """
    family, state = FAMILIES[name], canonical(read_state(path, FLAG)).state
    config = depths(path, family, state, layers, None, theirs=False)
    wanted = expected(family, config, part.split())
    check_complete(path, name, wanted, state)
    if OUTPUT in state and not torch.equal(state[OUTPUT], state[WORD]):
        logger.warning(
            "%s has an output layer of its own, which the original %s has no place for; its word embedding "
            "is written instead.",
            path,
            name.upper(),
        )
    theirs, _ = to_theirs(family, {key: state[key] for key in wanted}, config, part, every_name=True)
    write_checkpoint(target, theirs)
    return len(theirs)


def read_checkpoint(path: str | Path) -> State:
    """The variables of a checkpoint, without those of the optimiser.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    tensorflow = optional("tensorflow", "tensorflow")
    try:
        reader = tensorflow.train.load_checkpoint(str(path))
        names = reader.get_variable_to_shape_map()
        return {
            name: torch.from_numpy(reader.get_tensor(name).copy())
            for name in sorted(names)
            if names[name] and "adam_" not in name
        }
    except (tensorflow.errors.OpError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} is no TensorFlow checkpoint ({reason}); name it without .index or .data, with {FLAG}."
        ) from error


def write_checkpoint(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write variables as a checkpoint; it appears whole or not at all."""
    tensorflow = optional("tensorflow", "tensorflow")
    path = Path(path).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensorflow.raw_ops.SaveV2(
            prefix=str(path),
            tensor_names=list(state),
            shape_and_slices=[""] * len(state),
            tensors=[tensorflow.constant(tensor.numpy()) for tensor in state.values()],
        )
    except (OSError, tensorflow.errors.OpError) as error:
        raise write_fault(path, error if isinstance(error, OSError) else OSError(0, str(error))) from error
