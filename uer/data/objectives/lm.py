"""Language model: predict the next token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.objectives.base import Arrays, Objective, Part
from uer.data.overflow import limit_texts
from uer.data.packing import PACK_COLUMNS, document_numbers, pack
from uer.data.ragged import cut, gather, starts_of, wrap
from uer.data.store import Column


class Lm(Objective):
    """`[CLS] line [SEP]` in blocks of `seq_length` + 1 without overlap, the rest kept; each token predicts
    the next.

    A last block of one token is left out: there is nothing behind it to predict. With `packing` the blocks
    have `seq_length` tokens and several share a row; the last token of each predicts nothing.
    """

    name = "lm"
    corpus = "lines"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        return {**self.run_columns(), **(PACK_COLUMNS if self.options.packing else {})}

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        size = self.options.seq_length + (not self.options.packing)
        part = limit_texts(part, size - 2, self.options.on_overflow, split_here=False)
        tokens, lengths = wrap(part.ids, part.lengths, self.tokens.cls, self.tokens.sep)
        start, length = cut(starts_of(lengths), lengths, size)
        if self.options.packing:
            return {**pack(start, length, size), "tokens": tokens}
        kept = length > 1
        return {"start": start[kept], "length": length[kept], "tokens": tokens}

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L], doc [B, L] when packed; labels "lm" [B, L]: the next token, never
        padding."""
        length = store["length"][ids].astype(np.int64)
        block = gather(store["tokens"], store["start"][ids], length, self.tokens.pad)
        if self.options.packing:
            doc = document_numbers(store, ids)[0]
            labels = np.full(block.shape, IGNORE)
            labels[:, :-1] = np.where((doc[:, 1:] == doc[:, :-1]) & (doc[:, 1:] > 0), block[:, 1:], IGNORE)
            inputs = {"src": block, "seg": (doc > 0).astype(np.int64), "doc": doc}
            return Batch.counted(inputs, {"lm": labels}, ids)
        real = np.arange(block.shape[1] - 1) < length[:, None] - 1
        src = np.where(real, block[:, :-1], self.tokens.pad)
        labels = np.where(real, block[:, 1:], IGNORE)
        return Batch.counted({"src": src, "seg": real.astype(np.int64)}, {"lm": labels}, ids)

    def lengths(self, store: Arrays, ids: np.ndarray | slice = slice(None)) -> np.ndarray:
        """See `Objective.lengths`."""
        return store["length"][ids] - (0 if self.options.packing else 1)
