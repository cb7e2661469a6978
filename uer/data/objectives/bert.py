"""BERT: predict hidden tokens, and whether the second text follows the first (Devlin et al. 2019)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from uer.data.batch import Batch
from uer.data.objectives.base import Arrays, MaskedObjective, Part, Rows
from uer.data.overflow import limit_texts, over_length
from uer.data.store import Column
from uer.errors import DataError

ONE_DOCUMENT = (
    "--data_processor {} draws random second texts from other documents, and the corpus holds only one "
    "document; write one sentence a line and an empty line between documents."
)


class Pairs(NamedTuple):
    """Pairs of token runs, each field int64 [n]."""

    a_start: np.ndarray
    a_length: np.ndarray
    b_start: np.ndarray
    b_length: np.ndarray
    label: np.ndarray

    def swapped(self, where: np.ndarray) -> Pairs:
        """The same with the texts of some pairs (bool [n]) in the other order; labels stay."""
        a, b = (self.a_start, self.a_length), (self.b_start, self.b_length)
        first = [np.where(where, y, x) for x, y in zip(a, b)]
        second = [np.where(where, x, y) for x, y in zip(a, b)]
        return Pairs(*first, *second, self.label)


class Chunks(NamedTuple):
    """Sentences to make a pair of, from each of n documents; each field int64 [n]."""

    document: np.ndarray
    begin: np.ndarray
    """the first sentence"""
    end: np.ndarray
    """the sentence behind the last one"""
    target: np.ndarray
    """tokens that the pair should have"""


class Documents(NamedTuple):
    """Sentences and documents of a part; a sentence without tokens is none, and so is a document without
    sentences.

    Attributes:
        offsets: int64 [S + 1], where each sentence begins among the tokens.
        borders: int64 [D + 1], where each document begins among the sentences.
        own: documents to make pairs from; those behind them only lend random second texts.
    """

    offsets: np.ndarray
    borders: np.ndarray
    own: int

    @classmethod
    def of(cls, part: Part) -> Documents:
        """The documents of a part."""
        full = part.lengths > 0
        offsets = np.concatenate(([0], np.cumsum(part.lengths[full])))
        kept = np.concatenate(([0], np.cumsum(full)))
        borders = kept[part.documents]
        own = len(np.unique(borders[: part.own + 1])) - 1
        return cls(offsets, np.unique(borders), own)


def trim(pairs: Pairs, longest: int, rng: np.random.Generator) -> Pairs:
    """Cut pairs to `longest` tokens: the longer text (ties: the second) loses one, from either end, until
    it fits.

    What both lose follows from their lengths; how much of it falls on the front is binomial.
    """
    a, b = pairs.a_length, pairs.b_length
    excess = np.maximum(a + b - longest, 0)
    gap = np.minimum(np.abs(a - b), excess)  # comes off the longer text alone
    rest = excess - gap  # then in turns, the second text first
    a_less = np.where(a > b, gap, 0) + rest // 2
    b_less = np.where(a > b, 0, gap) + (rest + 1) // 2
    a_front, b_front = rng.binomial(a_less, 0.5), rng.binomial(b_less, 0.5)
    return Pairs(pairs.a_start + a_front, a - a_less, pairs.b_start + b_front, b - b_less, pairs.label)


def targets_of(count: int, longest: int, short_seq_prob: float, rng: np.random.Generator) -> np.ndarray:
    """For each document the tokens an instance should reach: `longest`, now and then anything from 2 on."""
    short = rng.random(count) < short_seq_prob
    return np.where(short, rng.integers(2, longest + 1, count), longest)


def chunk_ends(
    documents: Documents, document: np.ndarray, begin: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """The sentence behind the first one at which `target` tokens are reached from sentence `begin` on, or the
    document's end; at least one sentence is taken."""
    offsets = documents.offsets
    reached = np.searchsorted(offsets, offsets[begin] + np.maximum(target, 1))
    return np.minimum(reached, documents.borders[document + 1])


class PairObjective(MaskedObjective):
    """Two texts `[CLS] a [SEP] b [SEP]`, hidden tokens, and a question about the pair.

    All documents of a part are walked at once: each round makes one pair of every document that is not
    finished.
    """

    corpus = "documents"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        return {
            "a_start": Column("<u8", "tokens"),
            "a_length": Column("<u4"),
            "b_start": Column("<u8", "tokens"),
            "b_length": Column("<u4"),
            "label": Column("<u1"),
            "tokens": Column(self.token_dtype),
            **self.mask_columns(),
        }

    def pairs(self, documents: Documents, rng: np.random.Generator) -> Pairs:
        """One pass over the documents."""
        longest = self.options.seq_length - 3
        target = targets_of(documents.own, longest, self.options.short_seq_prob, rng)
        active = np.arange(documents.own)
        begin = documents.borders[: documents.own].copy()
        rounds = []
        while len(active):
            end = chunk_ends(documents, active, begin, target[active])
            pairs, begin = self.round(documents, Chunks(active, begin, end, target[active]), rng)
            rounds.append(pairs)
            going = begin < documents.borders[active + 1]
            active, begin = active[going], begin[going]
        if not rounds:
            return Pairs(*(np.zeros(0, np.int64) for _ in Pairs._fields))
        return trim(Pairs(*map(np.concatenate, zip(*rounds))), longest, rng)

    @abstractmethod
    def round(
        self, documents: Documents, chunks: Chunks, rng: np.random.Generator
    ) -> tuple[Pairs, np.ndarray]:
        """A pair of each chunk, and the sentence of its document to go on from, int64 [n]."""

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        policy, room = self.options.on_overflow, self.options.seq_length - 3
        if policy == "truncate":  # `trim` does it
            over_length(part, part.lengths, room, policy)
        else:
            part = limit_texts(part, room, policy)
        documents = Documents.of(part)
        passes = [self.pairs(documents, rng) for rng in rngs]
        joined = Pairs(*map(np.concatenate, zip(*passes)))
        arrays = {**joined._asdict(), "tokens": part.ids}
        borders = np.cumsum([0] + [len(pairs.label) for pairs in passes])
        copies = [np.arange(borders[i], borders[i + 1]) for i in range(len(passes))]
        return {**arrays, **self.mask_arrays(arrays, copies, rngs, part.spans)}

    def rows(self, arrays: Arrays, ids: np.ndarray) -> Rows:
        """See `MaskedObjective.rows`."""
        a, b = arrays["a_length"][ids].astype(np.int64), arrays["b_length"][ids].astype(np.int64)
        return Rows(
            lengths=a + b + 3,
            first=a + 2,
            pieces=[(1, arrays["a_start"][ids], a), (a + 2, arrays["b_start"][ids], b)],
            literals=[(0, self.tokens.cls), (a + 1, self.tokens.sep), (a + b + 2, self.tokens.sep)],
        )

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L]; labels "mlm" [B, L], "sp" [B]."""
        rows = self.rows(store, ids)
        src, labels = self.masked(store, ids, rows, rng)
        label = store["label"][ids].astype(np.int64)
        return Batch.counted({"src": src, "seg": rows.seg()}, {"mlm": labels, "sp": label}, ids)

    def lengths(self, store: Arrays, ids: np.ndarray | slice = slice(None)) -> np.ndarray:
        """See `Objective.lengths`."""
        return store["a_length"][ids] + store["b_length"][ids] + 3


class Bert(PairObjective):
    """Label 1: the second text is from another document (even odds; always where the chunk is one
    sentence)."""

    name = "bert"
    random_odds = 0.5

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`; there must be a second document to draw from."""
        documents = Documents.of(part)
        if documents.own and len(documents.borders) < 3:
            raise DataError(ONE_DOCUMENT.format(self.name))
        return super().build(part, rngs)

    def round(
        self, documents: Documents, chunks: Chunks, rng: np.random.Generator
    ) -> tuple[Pairs, np.ndarray]:
        """See `PairObjective.round`; sentences that a random second text displaces are used again."""
        offsets, borders = documents.offsets, documents.borders
        active, begin, end, target = chunks
        several = end - begin > 1
        middle = begin + np.where(several, rng.integers(1, np.maximum(end - begin, 2)), 1)
        random = (rng.random(len(active)) < self.random_odds) | ~several
        a_length = offsets[middle] - offsets[begin]
        other = rng.integers(0, len(borders) - 2, len(active))
        other += other >= active
        start = rng.integers(borders[other], borders[other + 1])
        b_begin = np.where(random, start, middle)
        b_end = np.where(random, chunk_ends(documents, other, start, target - a_length), end)
        pairs = Pairs(
            offsets[begin],
            a_length,
            offsets[b_begin],
            offsets[b_end] - offsets[b_begin],
            random.astype(np.int64),
        )
        return pairs, np.where(random, middle, end)
