"""Arithmetic on many runs of unequal length at once. A run is a start and a length in a flat array."""

from __future__ import annotations

import numpy as np


def starts_of(lengths: np.ndarray) -> np.ndarray:
    """Where each run begins when they lie one after another: int64 [n]."""
    lengths = np.asarray(lengths, np.int64)
    return np.cumsum(lengths) - lengths


def ragged_arange(lengths: np.ndarray) -> np.ndarray:
    """0 … lengths[0]-1, 0 … lengths[1]-1, … as one int64 array."""
    lengths = np.asarray(lengths, np.int64)
    return np.arange(int(lengths.sum())) - np.repeat(starts_of(lengths), lengths)


def ragged_index(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Places of all elements of the runs, run after run: int64."""
    lengths = np.asarray(lengths, np.int64)
    shift = np.asarray(starts, np.int64) - starts_of(lengths)
    return np.arange(int(lengths.sum())) + np.repeat(shift, lengths)


def place(
    rows: np.ndarray, column: np.ndarray | int, values: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> None:
    """Write run i of `values` into row i of `rows`, from its column on.

    Args:
        rows: [B, L], changed in place.
        column: [B] or one for all.
        values: the flat array that `starts` [B] and `lengths` [B] point into.
    """
    lengths = np.asarray(lengths, np.int64)
    begin = np.arange(len(rows)) * rows.shape[1] + column
    rows.reshape(-1)[ragged_index(begin, lengths)] = values[ragged_index(starts, lengths)]


def gather(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray, fill: int) -> np.ndarray:
    """The runs as rows: int64 [B, longest run], `fill` behind their ends."""
    lengths = np.asarray(lengths, np.int64)
    columns = np.arange(int(lengths.max(initial=0)))
    if len(values) == 0:
        return np.full((len(lengths), len(columns)), fill, np.int64)
    index = np.asarray(starts, np.int64)[:, None] + columns
    rows = values.take(index, mode="clip").astype(np.int64)
    np.copyto(rows, fill, where=columns >= lengths[:, None])
    return rows


def squeeze(rows: np.ndarray, kept: np.ndarray, fill: int) -> np.ndarray:
    """The kept elements of each row moved to its front: [B, L] → [B, most of a row], `fill` behind them."""
    counts = kept.sum(axis=1)
    out = np.full((len(rows), int(counts.max(initial=0))), fill, rows.dtype)
    out[np.arange(out.shape[1]) < counts[:, None]] = rows[kept]
    return out


def cut(starts: np.ndarray, lengths: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut each run into blocks of `size`, the last one shorter; empty runs give none.

    Returns:
        starts and lengths of the blocks, int64.
    """
    lengths = np.asarray(lengths, np.int64)
    blocks = -(-lengths // size)
    offset = ragged_arange(blocks) * size
    return np.repeat(starts, blocks) + offset, np.minimum(np.repeat(lengths, blocks) - offset, size)


def wrap(
    ids: np.ndarray, lengths: np.ndarray, before: int | None, after: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Put one id before and one behind every run.

    Args:
        ids: the runs, one after another.
        lengths: [n].
        before, after: the ids; None puts nothing there.

    Returns:
        the longer array, of the same type, and the runs' new lengths.
    """
    lengths = np.asarray(lengths, np.int64)
    longer = lengths + (before is not None) + (after is not None)
    starts = starts_of(longer)
    out = np.empty(int(longer.sum()), ids.dtype)
    out[ragged_index(starts + (before is not None), lengths)] = ids
    if before is not None:
        out[starts] = before
    if after is not None:
        out[starts + longer - 1] = after
    return out, longer
