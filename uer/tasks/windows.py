"""Long rows read in overlapping windows.

Where tokens are labelled each belongs to the window in which it stands furthest inside. Where rows are, what
the windows give is pooled (`uer.tasks.predict`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP = 0.75  # from one window to the next, in sizes of a window: a quarter is read twice


class Windows(NamedTuple):
    """Stretches of rows, int64 [w] each, in the order of the rows.

    Attributes:
        row: the row that the window is cut from.
        start, stop: its places in the row.
        own_start, own_stop: the places whose predictions count; over all windows of a row each place once.
    """

    row: NDArray
    start: NDArray
    stop: NDArray
    own_start: NDArray
    own_stop: NDArray


def windows(lengths: NDArray, size: int | NDArray, stride: int | NDArray | None = None) -> Windows:
    """Windows over rows of the given lengths; a row that fits is one window.

    Args:
        size: places of a window, in each row or in all. stride: from one start to the next (default: three
            quarters of the size); the last window ends with its row.
    """
    size = np.broadcast_to(size, lengths.shape)
    stride = np.maximum(1, size * STEP).astype(np.int64) if stride is None else stride
    stride = np.broadcast_to(stride, lengths.shape)
    assert (stride > 0).all() and (stride <= size).all()
    counts = np.where(lengths > size, -(-(lengths - size) // stride) + 1, 1)
    row = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
    start = np.minimum(number * stride[row], np.maximum(lengths - size, 0)[row])
    stop = np.minimum(start + size[row], lengths[row])
    follows = np.zeros(len(row), bool)
    follows[1:] = row[1:] == row[:-1]
    own_start, own_stop = start.copy(), stop.copy()
    middle = (start[1:] + stop[:-1] + 1) // 2  # of the overlap with the window before
    own_start[1:][follows[1:]] = middle[follows[1:]]
    own_stop[:-1][follows[1:]] = middle[follows[1:]]
    return Windows(row, start, stop, own_start, own_stop)


def first_stretches(lengths: NDArray, size: int) -> Windows:
    """One window a row: its first `size` places."""
    stop = np.minimum(lengths, size)
    zero = np.zeros_like(stop)
    return Windows(np.arange(len(lengths)), zero, stop, zero, stop)


def aligned(counts: Sequence[NDArray]) -> tuple[NDArray, list[NDArray]]:
    """Windows of several texts of a row side by side: as many as the text with the most windows has; beside
    each stands the window of the other text that lies as far into it.

    Args:
        counts: int64 [n] for each text, its windows in each row.

    Returns:
        the row of each window [w]; for each text which of its windows, counted over all rows, stands there.
    """
    most = np.max(counts, axis=0)
    row = np.repeat(np.arange(len(most)), most)
    number = np.arange(len(row)) - np.repeat(most.cumsum() - most, most)
    return row, [(count.cumsum() - count)[row] + number * count[row] // most[row] for count in counts]
