"""Masked language model: predict hidden tokens of one text (Devlin et al. 2019, Liu et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.batch import Batch
from uer.data.objectives.base import Arrays, MaskedObjective, Part, Rows
from uer.data.overflow import limit_texts
from uer.data.packing import PACK_COLUMNS, document_numbers, pack
from uer.data.ragged import cut, starts_of, wrap
from uer.data.store import Column


class Mlm(MaskedObjective):
    """`[CLS] line [SEP]` in blocks of `seq_length`, the rest kept.

    With `full_sentences` blocks run across lines; with `packing` rows are filled with whole blocks.
    """

    name = "mlm"
    corpus = "lines"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        packed = PACK_COLUMNS if self.options.packing else {}
        return {**self.run_columns(), **packed, **self.mask_columns()}

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        size = self.options.seq_length
        part = limit_texts(part, size - 2, self.options.on_overflow, split_here=False)
        tokens, lengths = wrap(part.ids, part.lengths, self.tokens.cls, self.tokens.sep)
        if self.options.full_sentences:
            lengths = np.array([len(tokens)])
        start, length = cut(starts_of(lengths), lengths, size)
        arrays = {"start": start, "length": length}
        if self.options.packing:
            arrays = pack(start, length, size)
        arrays = self._predictable(arrays, tokens)
        ids, copies = np.arange(len(arrays["start"])), len(rngs)
        for name in ("start", "length", "doc_start", "doc_count"):
            if name in arrays:
                arrays[name] = np.tile(arrays[name], copies)
        arrays["tokens"] = tokens
        spans = None if part.spans is None else wrap(part.spans, part.lengths, 0, 0)[0]
        return {**arrays, **self.mask_arrays(arrays, [ids] * copies, rngs, spans)}

    def _predictable(self, arrays: dict[str, np.ndarray], tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Without rows that hold special tokens only, as a last `[SEP]` alone."""
        start, length = arrays["start"], arrays["length"]
        short = np.flatnonzero(length <= 2)
        ends = start[short] + length[short] - 1
        special = self.tokens.special
        useless = np.isin(tokens[start[short]], special) & np.isin(tokens[ends], special)
        kept = np.delete(np.arange(len(start)), short[useless])
        return {name: values if name == "doc_length" else values[kept] for name, values in arrays.items()}

    def rows(self, arrays: Arrays, ids: np.ndarray) -> Rows:
        """See `MaskedObjective.rows`."""
        start, length = arrays["start"][ids], arrays["length"][ids].astype(np.int64)
        return Rows(length, length, [(0, start, length)])

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L], doc [B, L] when packed; labels "mlm" [B, L]."""
        rows = self.rows(store, ids)
        src, labels = self.masked(store, ids, rows, rng)
        inputs = {"src": src, "seg": rows.seg()}
        if self.options.packing:
            inputs["doc"] = document_numbers(store, ids)[0]
        return Batch.counted(inputs, {"mlm": labels}, ids)
