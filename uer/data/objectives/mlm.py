"""Masked language model: predict hidden tokens of one text (Devlin et al. 2019, Liu et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.batch import Batch
from uer.data.objectives.base import Arrays, MaskedObjective, Part, Rows
from uer.data.ragged import cut, starts_of, wrap
from uer.data.store import Column


class Mlm(MaskedObjective):
    """`[CLS] line [SEP]` in blocks of `seq_length`, the rest kept; `full_sentences`: blocks run across
    lines."""

    name = "mlm"
    corpus = "lines"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        return {**self.run_columns(), **self.mask_columns()}

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        tokens, lengths = wrap(part.ids, part.lengths, self.tokens.cls, self.tokens.sep)
        if self.options.full_sentences:
            lengths = np.array([len(tokens)])
        start, length = cut(starts_of(lengths), lengths, self.options.seq_length)
        start, length = self._predictable(tokens, start, length)
        copies = len(rngs)
        arrays = {"start": np.tile(start, copies), "length": np.tile(length, copies), "tokens": tokens}
        numbers = [np.arange(len(start))] * copies
        return {**arrays, **self.static_masks(arrays, numbers, rngs)}

    def _predictable(
        self, tokens: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Without blocks that hold special tokens only, as a last `[SEP]` alone."""
        short = np.flatnonzero(length <= 2)
        ends = start[short] + length[short] - 1
        useless = np.isin(tokens[start[short]], self.tokens.special) & np.isin(
            tokens[ends], self.tokens.special
        )
        return np.delete(start, short[useless]), np.delete(length, short[useless])

    def rows(self, arrays: Arrays, ids: np.ndarray) -> Rows:
        """See `MaskedObjective.rows`."""
        start, length = arrays["start"][ids], arrays["length"][ids].astype(np.int64)
        return Rows(length, length, [(0, start, length)])

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L]; labels "mlm" [B, L]."""
        rows = self.rows(store, ids)
        src, labels = self.masked(store, ids, rows, rng)
        return Batch.counted({"src": src, "seg": rows.seg()}, {"mlm": labels}, ids)
