"""Short documents side by side in one row, each blind to the others."""

from __future__ import annotations

import numpy as np

from uer.data.ragged import gather, ragged_arange, ragged_index, starts_of
from uer.data.store import Column

PACK_COLUMNS = {
    "doc_start": Column("<u8", "doc_length"),
    "doc_count": Column("<u4"),
    "doc_length": Column("<u4"),
}


def next_fit(lengths: np.ndarray, size: int, borders: np.ndarray | None = None) -> np.ndarray:
    """Pieces that follow each other are put into a row as long as it holds at most `size` tokens.

    Since no piece is moved, a row stays one run of tokens.

    Args:
        lengths: [n] of the pieces, each at most `size`.
        borders: [n], for each piece the first piece that may not share its row; None: no such.

    Returns:
        the number of pieces of each row.
    """
    ends = np.cumsum(lengths)
    following = np.searchsorted(ends, ends - lengths + size, side="right")
    following = (following if borders is None else np.minimum(following, borders)).tolist()
    counts, at = [], 0
    while at < len(following):
        counts.append(following[at] - at)
        at = following[at]
    return np.array(counts, np.int64)


def pack(start: np.ndarray, length: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Rows of pieces that lie one after another among the tokens.

    Returns:
        start and length of the rows, and which documents each holds.
    """
    counts = next_fit(length, size)
    first = starts_of(counts)
    totals = np.add.reduceat(length, first) if len(first) else np.zeros(0, np.int64)
    return {
        "start": start[first],
        "length": totals,
        "doc_start": first,
        "doc_count": counts,
        "doc_length": length,
    }


def document_numbers(arrays: dict[str, np.ndarray], ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The documents of packed rows.

    Returns:
        doc: int64 [B, L], 1 for the first document of a row, 2 for the next …, 0 at padding.
        index: places of all these documents in the arrays of documents, row after row.
    """
    counts = arrays["doc_count"][ids].astype(np.int64)
    index = ragged_index(arrays["doc_start"][ids], counts)
    numbers = np.repeat(ragged_arange(counts) + 1, arrays["doc_length"][index])
    lengths = arrays["length"][ids].astype(np.int64)
    return gather(numbers, starts_of(lengths), lengths, 0), index
