"""Long rows read in overlapping windows; each token belongs to the one in which it stands furthest inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def windows(lengths: NDArray, size: int, stride: int) -> Windows:
    """Windows over rows of the given lengths; a row that fits is one window.

    Args:
        size: places of a window. stride: from one start to the next; the last window ends with its row.
    """
    assert 0 < stride <= size
    counts = np.where(lengths > size, -(-(lengths - size) // stride) + 1, 1)
    row = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
    start = np.minimum(number * stride, np.maximum(lengths[row] - size, 0))
    stop = np.minimum(start + size, lengths[row])
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
