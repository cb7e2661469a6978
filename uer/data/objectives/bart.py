"""BART: sentences are shuffled and tokens hidden; the decoder restores the text (Lewis et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.batch import Batch
from uer.data.masking import run_begins
from uer.data.objectives.base import Arrays, MaskedObjective, Part, Rows
from uer.data.objectives.bert import Documents
from uer.data.objectives.seq2seq import shift
from uer.data.overflow import limit_texts
from uer.data.packing import next_fit
from uer.data.ragged import ragged_index, squeeze, starts_of
from uer.data.store import Column


class Bart(MaskedObjective):
    """Sentences of a document are packed into instances `[CLS] … [SEP]` shorter than `seq_length`.

    Target: the text as it was. Source: its sentences in another order, tokens hidden as the masking flags
    say, each run of masks made one. Both are drawn when a batch is made: every epoch sees others, and one
    copy of the data is enough.
    """

    name = "bart"
    corpus = "documents"
    static = False

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`; an instance is a run of tokens, and a run of the lengths of its
        sentences."""
        run = self.run_columns()
        return {
            "start": run["start"],
            "length": run["length"],
            "sentence_start": Column("<u8", "sentence_length"),
            "sentence_count": Column("<u4"),
            "sentence_length": Column("<u4"),
            "tokens": run["tokens"],
            **self.mask_columns(),
        }

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        room = self.options.seq_length - 3  # strictly less than seq_length - 2, as UER
        part = limit_texts(part, room, self.options.on_overflow)
        documents = Documents.of(part)
        sizes = np.diff(documents.offsets)
        ends = np.repeat(documents.borders[1:], np.diff(documents.borders))
        counts = next_fit(sizes, room, ends)
        first = starts_of(counts)
        start = documents.offsets[first]
        return {
            "start": start,
            "length": documents.offsets[first + counts] - start,
            "sentence_start": first,
            "sentence_count": counts,
            "sentence_length": sizes,
            "tokens": part.ids,
            **self.mask_arrays({"tokens": part.ids}, [], [], part.spans),
        }

    def rows(self, arrays: Arrays, ids: np.ndarray) -> Rows:
        """See `MaskedObjective.rows`; the sentences stand in their order."""
        length = arrays["length"][ids].astype(np.int64)
        return Rows(
            lengths=length + 2,
            first=length + 2,
            pieces=[(1, arrays["start"][ids], length)],
            literals=[(0, self.tokens.cls), (length + 1, self.tokens.sep)],
        )

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L], tgt_in, tgt_seg [B, T]; labels "lm" [B, T]."""
        rows = self.rows(store, ids)
        target, words = self._unmasked(store, rows)
        moved = self._shuffled(store, ids, target.shape, rng)
        source = target.reshape(-1)[moved]
        words = None if words is None else words.reshape(-1)[moved]
        masked, _ = self.masker(source, rows.lengths, rng, words)
        hidden = masked == self.tokens.mask
        kept = (np.arange(masked.shape[1]) < rows.lengths[:, None]) & (~hidden | run_begins(hidden))
        source, length = squeeze(masked, kept, self.tokens.pad), kept.sum(axis=1)
        seg = (np.arange(source.shape[1]) < length[:, None]).astype(np.int64)
        inputs, labels = shift(target, rows.lengths, self.tokens.pad)
        return Batch.counted({"src": source, "seg": seg, **inputs}, {"lm": labels}, ids)

    def _shuffled(
        self, store: Arrays, ids: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
    ) -> np.ndarray:
        """For each place of the rows the place in the flattened rows that its token comes from: int64 [B,
        L]."""
        counts = store["sentence_count"][ids].astype(np.int64)
        sizes = store["sentence_length"][ragged_index(store["sentence_start"][ids], counts)].astype(np.int64)
        row = np.repeat(np.arange(len(ids)), counts)
        # The text of a row begins behind its [CLS]; sentences follow each other.
        row_begins = np.arange(len(ids)) * shape[1] + 1
        within = starts_of(sizes) - np.repeat(starts_of(store["length"][ids]), counts)
        begins = row_begins[row] + within
        order = np.lexsort((rng.random(len(sizes)), row))
        moved = np.arange(shape[0] * shape[1])
        length = store["length"][ids].astype(np.int64)
        moved[ragged_index(row_begins, length)] = ragged_index(begins[order], sizes[order])
        return moved.reshape(shape)

    def lengths(self, store: Arrays, ids: np.ndarray | slice = slice(None)) -> np.ndarray:
        """See `Objective.lengths`."""
        return store["length"][ids] + 2
