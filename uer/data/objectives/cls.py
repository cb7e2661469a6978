"""Classification of whole texts as a pre-training objective, alone or beside hidden tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.batch import Batch
from uer.data.objectives.base import Arrays, MaskedObjective, Objective, Part, Rows
from uer.data.overflow import over_length
from uer.data.packing import PACK_COLUMNS, document_numbers, pack
from uer.data.ragged import ragged_arange, ragged_index, starts_of
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


class _Labelled:
    """Rows `[CLS] text [SEP]` or `[CLS] a [SEP] b [SEP]` with a label; over-long ones as `--overflow`
    says."""

    def labelled_columns(self: Objective, packed: dict[str, Column]) -> dict[str, Column]:
        """The columns of `labelled_rows`, and those of packing behind the rows' own."""
        run = self.run_columns()
        return {
            "start": run["start"],
            "length": run["length"],
            **packed,
            "first": Column("<u4"),
            "label": Column("<i4"),
            "tokens": run["tokens"],
        }

    def labelled_rows(self: Objective, part: Part) -> dict[str, np.ndarray]:
        """start, length, first, label, tokens."""
        tokens, lengths, first = join_pairs(part, self.tokens.cls, self.tokens.sep)
        longest = self.options.seq_length
        kept = over_length(part, lengths, longest, self.options.on_overflow)
        return {
            "start": starts_of(lengths)[kept],
            "length": np.minimum(lengths, longest)[kept],
            "first": np.minimum(first, longest)[kept],
            "label": part.labels[kept],
            "tokens": tokens,
        }


class Cls(_Labelled, Objective):
    """A text or two and their label; with `packing` several of them in a row."""

    name = "cls"
    corpus = "labelled"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`; with packing, `first` and `label` have an element a document."""
        return self.labelled_columns(PACK_COLUMNS if self.options.packing else {})

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        arrays = self.labelled_rows(part)
        if not self.options.packing:
            return arrays
        # Rows must be runs of tokens: leave out what was cut off.
        tokens = arrays["tokens"][ragged_index(arrays["start"], arrays["length"])]
        start = starts_of(arrays["length"])
        return {**arrays, **pack(start, arrays["length"], self.options.seq_length), "tokens": tokens}

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L], doc [B, L] when packed; labels "cls" [B], or one a document, row after
        row."""
        length = store["length"][ids].astype(np.int64)
        pieces = [(0, store["start"][ids], length)]
        if not self.options.packing:
            rows = Rows(length, store["first"][ids].astype(np.int64), pieces)
            inputs = {"src": rows.tokens(store["tokens"], self.tokens.pad), "seg": rows.seg()}
            return Batch.counted(inputs, {"cls": store["label"][ids].astype(np.int64)}, ids)
        doc, index = document_numbers(store, ids)
        src = Rows(length, length, pieces).tokens(store["tokens"], self.tokens.pad)
        sizes = store["doc_length"][index].astype(np.int64)
        seg = np.zeros(src.shape, np.int64)
        seg[doc > 0] = 1 + (ragged_arange(sizes) >= np.repeat(store["first"][index], sizes))
        labels = {"cls": store["label"][index].astype(np.int64)}
        return Batch.counted({"src": src, "seg": seg, "doc": doc}, labels, ids)


class ClsMlm(_Labelled, MaskedObjective):
    """As `Cls`, and tokens are hidden besides."""

    name = "cls_mlm"
    corpus = "labelled"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        return {**self.labelled_columns({}), **self.mask_columns()}

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        arrays = self.labelled_rows(part)
        return {**arrays, **self.mask_arrays(arrays, [np.arange(len(arrays["start"]))], rngs)}

    def rows(self, arrays: Arrays, ids: np.ndarray) -> Rows:
        """See `MaskedObjective.rows`."""
        length = arrays["length"][ids].astype(np.int64)
        return Rows(length, arrays["first"][ids].astype(np.int64), [(0, arrays["start"][ids], length)])

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L]; labels "mlm" [B, L], "cls" [B]."""
        rows = self.rows(store, ids)
        src, labels = self.masked(store, ids, rows, rng)
        label = store["label"][ids].astype(np.int64)
        return Batch.counted({"src": src, "seg": rows.seg()}, {"mlm": labels, "cls": label}, ids)
