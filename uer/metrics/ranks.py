"""Scores of numbers and orders: rank and linear correlation, reciprocal rank, average precision."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def average_ranks(values: ArrayLike) -> NDArray:
    """Ranks from 1, equal values sharing the mean of theirs; float64 [n]."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[inverse.ravel()]


def pearson(one: ArrayLike, other: ArrayLike) -> float:
    """Linear correlation in float64; NaN for fewer than two rows or where one side never changes."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if len(a) < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    spread = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / spread) if spread else float("nan")


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Rank correlation: `pearson` of the ranks, ties sharing theirs."""
    return pearson(average_ranks(one), average_ranks(other))


class Correlation:
    """Rank and linear correlation of predicted and gold numbers.

    Args:
        line: the report's line, with `{:.4f}` for Spearman's correlation.
    """

    def __init__(self, line: str = "Spearman corr: {:.4f}") -> None:
        self.line = line
        self._predicted: list[NDArray] = []
        self._gold: list[NDArray] = []

    def update(self, predicted: ArrayLike, gold: ArrayLike) -> None:
        """Add numbers [n] and [n]."""
        self._predicted.append(np.asarray(predicted, np.float64))
        self._gold.append(np.asarray(gold, np.float64))

    def scores(self) -> dict[str, float]:
        """`spearman`, `pearson`."""
        predicted, gold = (
            np.concatenate(parts) if parts else np.empty(0) for parts in (self._predicted, self._gold)
        )
        return {"spearman": spearman(predicted, gold), "pearson": pearson(predicted, gold)}

    def report(self) -> list[str]:
        """UER's line, then the linear correlation."""
        scores = self.scores()
        return [f"Pearson corr: {scores['pearson']:.4f}", self.line.format(scores["spearman"])]


def _reciprocal(above: int, tied: int, right: int) -> float:
    """The mean of 1 / rank of the first right one among `tied` candidates, `right` of them so, that stand in
    an order drawn at random behind `above` others.
    """
    orders = math.comb(tied, right)
    places = range(1, tied - right + 2)
    return sum(math.comb(tied - at, right - 1) / orders / (above + at) for at in places)


class Ranking:
    """Mean reciprocal rank and mean average precision over groups of candidates."""

    def __init__(self) -> None:
        self._reciprocal: list[float] = []
        self._precision: list[float] = []

    def update(self, scores: ArrayLike, gold: ArrayLike) -> None:
        """Add one group: scores [n] and whether each candidate is right [n].

        Of candidates of equal score none comes first: the reciprocal rank is what an order drawn at random
        gives in the mean, so a model that scores all alike is worth what guessing is; the precision at one of
        them counts them all, as scikit-learn does. A group without a right candidate counts with the rank
        behind its last one, and not in the precision.
        """
        scores, gold = np.asarray(scores), np.asarray(gold, bool)
        if not gold.any():
            self._reciprocal.append(1 / (len(gold) + 1))
            return
        best = scores[gold].max()
        above, tied = int((scores > best).sum()), scores == best
        self._reciprocal.append(_reciprocal(above, int(tied.sum()), int((tied & gold).sum())))
        rising, right = np.sort(scores), np.sort(scores[gold])
        counted = len(scores) - np.searchsorted(rising, right)
        self._precision.append(float(((len(right) - np.searchsorted(right, right)) / counted).mean()))

    def scores(self) -> dict[str, float]:
        """`mrr`, `map`."""
        return {"mrr": _mean(self._reciprocal), "map": _mean(self._precision)}

    def report(self) -> list[str]:
        """Both, UER's line last."""
        scores = self.scores()
        return [
            f"Mean Average Precision: {scores['map']:.4f}",
            f"Mean Reciprocal Rank: {scores['mrr']:.4f}",
        ]


class GroupRanking:
    """`Ranking` of rows that arrive in any order, each with the number of its group and its own.

    Keeps three numbers a row, since a group is complete only at the end.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray, NDArray, NDArray, NDArray]] = []

    def update(self, rows: ArrayLike, groups: ArrayLike, scores: ArrayLike, gold: ArrayLike) -> None:
        """Add rows: their numbers, groups, scores and truth values, [n] each."""
        kinds = (np.int64, np.int64, np.float32, bool)
        self._parts.append(tuple(map(np.array, (rows, groups, scores, gold), kinds)))  # copies, no views

    def _ranking(self) -> Ranking:
        ranking = Ranking()
        if self._parts:
            rows, groups, scores, gold = (np.concatenate(part) for part in zip(*self._parts))
            order = np.lexsort((rows, groups))
            borders = np.flatnonzero(np.diff(groups[order])) + 1
            for members in np.split(order, borders):
                ranking.update(scores[members], gold[members])
        return ranking

    def scores(self) -> dict[str, float]:
        """`mrr`, `map`."""
        return self._ranking().scores()

    def report(self) -> list[str]:
        """See `Ranking.report`."""
        return self._ranking().report()


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0
