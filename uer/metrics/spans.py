"""Scores of tagged sequences: precision, recall and F1 of whole spans (BIO, BIOES, BMES, BILOU), or of tags
that stand for single words (parts of speech).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from uer.metrics.classification import EPSILON
from uer.metrics.tables import Table, ratio_table

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


SAME = {"B": "B", "I": "I", "E": "E", "S": "S", "M": "I", "L": "E", "U": "S"}
"""prefixes, in the words of BIOES; BMES calls the inside M, BILOU the end L and what stands alone U"""
OUTSIDE = ("O", "[PAD]")


class Tags:
    """Tags like `B-LOC`, taken apart once: a prefix (`SAME`, O) and a type.

    Args:
        names: the tags in id order.

    Attributes:
        spans_words: whether there are prefixes, so that spans may be of several words: a tag with a type has
            one, or all tags are prefixes. If not, each tag but O is a span by itself (parts of speech).
        strange: among tags with prefixes those that have none; they count as O.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        split = [name.partition("-") for name in self.names]
        inner = [name not in OUTSIDE for name in self.names]
        known = [prefix in SAME and name for name, (prefix, _, _) in zip(inner, split)]
        typed = any(sign and prefix in SAME for prefix, sign, _ in split)
        self.spans_words = typed or known == inner
        self.strange = [name for name, a, b in zip(self.names, inner, known) if a and not b]
        if not self.spans_words:
            split, known, self.strange = [("S", "-", name) for name in self.names], inner, []
        prefixes = [SAME.get(prefix) if inside else None for (prefix, _, _), inside in zip(split, known)]
        self.types = sorted({kind for (_, _, kind), inside in zip(split, known) if inside})
        self._type = np.array([self.types.index(k) if i else -1 for (_, _, k), i in zip(split, known)])
        self._opens = np.array([prefix in ("B", "I") for prefix in prefixes])
        self._goes_on = np.array([prefix in ("I", "E") for prefix in prefixes])

    def remark(self) -> str | None:
        """What is to be said where the tags are not those of spans alone."""
        if not self.spans_words:
            return "No tag begins with B-, I-, E- or S-, so each tag is scored by itself, word by word."
        if not self.strange:
            return None
        shown = ", ".join(self.strange[:9])
        return f"Tags that begin with none of B-, I-, E-, S- count as O in the score: {shown}."

    def spans(self, tags: NDArray, rows: NDArray) -> NDArray:
        """First place, last place and type of every span, int64 [m, 3].

        A tag continues a span when the one before it is B or I, it is I or E itself, and both have one type;
        any other tag but O begins one. That is what conlleval (Tjong Kim Sang 2000) and seqeval do.

        Args:
            tags: [n] ids of all rows, one row after another. rows: [n] the row of each; spans stay within.
        """
        kind = self._type[tags]
        inside = kind >= 0
        continues = np.zeros(len(tags), bool)
        continues[1:] = self._opens[tags[:-1]] & self._goes_on[tags[1:]]
        continues[1:] &= (kind[1:] == kind[:-1]) & (rows[1:] == rows[:-1])
        ends = inside.copy()
        ends[:-1] &= ~continues[1:]
        first = np.flatnonzero(inside & ~continues)
        return np.stack([first, np.flatnonzero(ends), kind[first]], axis=1)


class SpanF1:
    """Precision, recall and F1 of spans, over all types (micro) and for each.

    Args:
        names: the tags in id order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.tags = Tags(names)
        self._parts: list[tuple[NDArray, ...]] = []

    def update(self, places: ArrayLike, rows: ArrayLike, predicted: ArrayLike, gold: ArrayLike) -> None:
        """Add tags of words, in any order.

        Args:
            places: [n] the number of each word in the whole file, which orders it.
            rows: [n] the row it stands in.
            predicted, gold: [n] tag ids.
        """
        self._parts.append(tuple(np.asarray(part, np.int64) for part in (places, rows, predicted, gold)))

    def counts(self) -> NDArray:
        """Right, predicted and gold spans of each type, int64 [3, types]."""
        size = len(self.tags.types)
        if not self._parts:
            return np.zeros((3, size), np.int64)
        places, rows, predicted, gold = (np.concatenate(part) for part in zip(*self._parts))
        order = np.argsort(places, kind="stable")
        ours, theirs = (self.tags.spans(tags[order], rows[order]) for tags in (predicted, gold))
        right = sorted({tuple(span) for span in ours.tolist()} & {tuple(span) for span in theirs.tolist()})
        kinds = (np.array([span[2] for span in right], np.int64), ours[:, 2], theirs[:, 2])
        return np.stack([np.bincount(kind, minlength=size) for kind in kinds])

    def scores(self) -> dict[str, float]:
        """`f1`, `precision`, `recall` over all spans, and `macro_f1` over the types."""
        counts = self.counts()
        precision, recall, f1 = ratios(counts.sum(axis=1))
        macro = float(np.mean(ratios(counts)[2])) if counts.shape[1] else 0.0
        return {"f1": float(f1), "precision": float(precision), "recall": float(recall), "macro_f1": macro}

    def tables(self) -> list[Table]:
        """The scores of each type."""
        counts = self.counts()
        names = [name or "span" for name in self.tags.types]
        return [ratio_table("type", names, *ratios(counts), counts[2])]

    def report(self) -> list[str]:
        """One line a type, then UER's two."""
        counts = self.counts()
        lines = [
            f"{name or 'span'}: {p:.3f}, {r:.3f}, {f1:.3f}"
            for name, p, r, f1 in zip(self.tags.types, *ratios(counts))
        ]
        total = ratios(counts.sum(axis=1))
        return [*lines, "Report precision, recall, and f1:", ", ".join(f"{value:.3f}" for value in total)]


def ratios(counts: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Precision, recall and F1 from right, predicted and gold counts [3, …]."""
    right, predicted, gold = counts.astype(np.float64)
    precision, recall = right / (predicted + EPSILON), right / (gold + EPSILON)
    return precision, recall, 2 * precision * recall / (precision + recall + EPSILON)
