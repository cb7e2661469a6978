"""Prefix language model: the source is seen whole, the target is predicted (Dong et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.objectives.base import Arrays, Objective, Part
from uer.data.objectives.cls import join_pairs
from uer.data.overflow import over_length
from uer.data.ragged import gather, starts_of
from uer.data.store import Column


class PrefixLm(Objective):
    """`[CLS] source [SEP] target [SEP]` cut at `seq_length`; a pair whose source fills the row is left
    out."""

    name = "prefixlm"
    corpus = "pairs"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        run = self.run_columns()
        return {
            "start": run["start"],
            "length": run["length"],
            "first": Column("<u4"),
            "tokens": run["tokens"],
        }

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`; one token more than a row holds is kept, for the label of the last place."""
        tokens, lengths, first = join_pairs(part, self.tokens.cls, self.tokens.sep)
        longest = self.options.seq_length
        kept = over_length(part, lengths, longest, self.options.on_overflow)
        filled = first >= longest
        part.counts["long_sources"] = int((filled & kept).sum())
        kept &= ~filled
        return {
            "start": starts_of(lengths)[kept],
            "length": np.minimum(lengths, longest + 1)[kept],
            "first": first[kept],
            "tokens": tokens,
        }

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L] (1 source, 2 target); labels "lm" [B, L]: the target's tokens and its
        `[SEP]`."""
        total = store["length"][ids].astype(np.int64)
        first = store["first"][ids].astype(np.int64)[:, None]
        block = gather(store["tokens"], store["start"][ids], total, self.tokens.pad)
        length = np.minimum(total, self.options.seq_length)[:, None]
        columns = np.arange(int(length.max()))
        src = np.where(columns < length, block[:, : len(columns)], self.tokens.pad)
        following = np.full(src.shape, IGNORE)
        following[:, : block.shape[1] - 1] = block[:, 1 : 1 + len(columns)]
        labels = np.where((columns >= first - 1) & (columns < total[:, None] - 1), following, IGNORE)
        seg = (columns < length) * (1 + (columns >= first))
        return Batch.counted({"src": src, "seg": seg}, {"lm": labels}, ids)

    def lengths(self, store: Arrays, ids: np.ndarray | slice = slice(None)) -> np.ndarray:
        """See `Objective.lengths`."""
        return np.minimum(store["length"][ids], self.options.seq_length)
