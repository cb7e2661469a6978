"""What happens to a tensor on its way between their names and ours: named pairs of inverse functions.

Shapes: V vocabulary, S positions, H hidden; linear weights [out, in].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Operation(NamedTuple):
    """`load` makes our tensors (one for each of our names) of theirs, `save` theirs of ours."""

    load: Callable[[Tensor], tuple[Tensor, ...]]
    save: Callable[..., Tensor]


def _zeros(like: Tensor, rows: int) -> Tensor:
    return like.new_zeros(rows, *like.shape[1:])


def _load_segments(theirs: Tensor) -> tuple[Tensor, ...]:
    """[T, H] → [T + 1, H], row 0 for padding; a single type serves both texts."""
    both = theirs.repeat(2, 1) if len(theirs) == 1 else theirs
    return (torch.cat([_zeros(both, 1), both]),)


def _save_one_segment(ours: Tensor) -> Tensor:
    """[3, H] → [1, H] when both texts have the same row, as RoBERTa's do, else [2, H].

    Files that UER-py converted have the row in the place of the second text, and zeros in that of the first.
    """
    return ours[2:] if torch.equal(ours[1], ours[2]) or not ours[1].any() else ours[1:]


OPERATIONS = {
    "copy": Operation(lambda theirs: (theirs,), lambda ours: ours),
    # linear layers stored as [in, out] (GPT-2, TensorFlow)
    "transpose": Operation(lambda theirs: (theirs.t(),), lambda ours: ours.t()),
    # query, key and value in one: [H, 3H] → three [H, H]; [3H] → three [H]
    "split_transposed": Operation(lambda theirs: theirs.t().chunk(3), lambda *ours: torch.cat(ours).t()),
    "split": Operation(lambda theirs: theirs.chunk(3), lambda *ours: torch.cat(ours)),
    # token types: ours have a row for padding in front
    "segments": Operation(_load_segments, lambda ours: ours[1:]),
    "one_segment": Operation(_load_segments, _save_one_segment),
    # positions that begin at row 2, behind two rows that no token takes
    "offset_2": Operation(lambda theirs: (theirs[2:],), lambda ours: torch.cat([_zeros(ours, 2), ours])),
    # [1, V] → [V]
    "squeeze": Operation(lambda theirs: (theirs.squeeze(0),), lambda ours: ours.unsqueeze(0)),
}
