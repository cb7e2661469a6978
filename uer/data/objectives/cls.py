"""Classification of whole texts as a pre-training objective."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.batch import Batch
from uer.data.objectives.base import Arrays, Objective, Part, Rows
from uer.data.ragged import ragged_index, starts_of
from uer.data.store import Column


def join_pairs(part: Part, cls_id: int, sep_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[CLS] a [SEP]`, or `[CLS] a [SEP] b [SEP]` where a row has a second text.

    Returns:
        the tokens, each row's length, and how many of its tokens belong to the first text.
    """
    has_second = part.second_lengths >= 0
    second = np.maximum(part.second_lengths, 0)
    first = part.lengths + 2
    lengths = first + second + has_second
    starts = starts_of(lengths)
    tokens = np.full(int(lengths.sum()), sep_id, np.int32)
    tokens[starts] = cls_id
    tokens[ragged_index(starts + 1, part.lengths)] = part.ids
    tokens[ragged_index(starts + first, second)] = part.second_ids
    return tokens, lengths, first


class Cls(Objective):
    """`[CLS] text [SEP]` or `[CLS] a [SEP] b [SEP]`, cut at `seq_length`, with a label."""

    name = "cls"
    corpus = "labelled"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        return {
            "start": Column("<u8", "tokens"),
            "length": Column("<u4"),
            "first": Column("<u4"),
            "label": Column("<i4"),
            "tokens": Column(self.token_dtype),
        }

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        tokens, lengths, first = join_pairs(part, self.tokens.cls, self.tokens.sep)
        longest = self.options.seq_length
        part.counts["truncated"] = int((lengths > longest).sum())
        return {
            "start": starts_of(lengths),
            "length": np.minimum(lengths, longest),
            "first": np.minimum(first, longest),
            "label": part.labels,
            "tokens": tokens,
        }

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L]; labels "cls" [B]."""
        length = store["length"][ids].astype(np.int64)
        rows = Rows(length, store["first"][ids].astype(np.int64), [(0, store["start"][ids], length)])
        src = rows.tokens(store["tokens"], self.tokens.pad)
        labels = store["label"][ids].astype(np.int64)
        return Batch.counted({"src": src, "seg": rows.seg()}, {"cls": labels}, ids)
