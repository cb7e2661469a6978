"""Texts that are longer than an instance: cut, split, dropped, or an error; always counted."""

from __future__ import annotations

import numpy as np

from uer.data.objectives.base import Part
from uer.data.ragged import cut, ragged_index, starts_of
from uer.errors import DataError


def over_length(part: Part, sizes: np.ndarray, limit: int, policy: str) -> np.ndarray:
    """Which texts (rows) stay: bool [n]; all of them unless `policy` is "drop".

    Args:
        part: counts `over_length` is written to.
        sizes: [n] tokens of each.

    Raises:
        DataError: "error", and a text is longer than `limit`; with its line.
    """
    over = sizes > limit
    count = int(over.sum())
    part.counts["over_length"] = part.counts.get("over_length", 0) + count
    if count and policy == "error":
        first = int(np.argmax(over))
        raise DataError(
            f"the text has {int(sizes[first])} tokens and an instance has room for {limit}; raise "
            "--seq_length, or choose another --overflow.",
            line=int(part.lines[first]),
        )
    return ~over if policy == "drop" else np.ones(len(sizes), bool)


def limit_texts(part: Part, limit: int, policy: str, *, split_here: bool = True) -> Part:
    """The part with its texts (documents, or sentences of documents) brought to at most `limit` tokens.

    Args:
        split_here: False when the caller cuts texts into blocks itself, so that "split" only counts.
    """
    kept = over_length(part, part.lengths, limit, policy)
    if not part.counts["over_length"] or (policy == "split" and not split_here):
        return part
    starts, numbers = starts_of(part.lengths), np.arange(len(kept))
    if policy == "split":
        pieces = np.maximum(1, -(-part.lengths // limit))
        numbers = np.repeat(numbers, pieces)
        empty = part.lengths == 0  # they stay as they are; `cut` gives nothing for them
        lengths = np.zeros(len(numbers), np.int64)
        begins = np.repeat(starts, pieces)
        full = ~np.repeat(empty, pieces)
        begins[full], lengths[full] = cut(starts, part.lengths, limit)
    else:
        numbers, begins = numbers[kept], starts[kept]
        lengths = np.minimum(part.lengths[kept], limit)
    documents = part.documents
    if documents is not None:
        documents = np.searchsorted(numbers, documents)
    places = ragged_index(begins, lengths)
    return Part(
        ids=part.ids[places],
        lengths=lengths,
        lines=part.lines[numbers],
        documents=documents,
        own=part.own,
        spans=None if part.spans is None else part.spans[places],
        counts=part.counts,
    )
