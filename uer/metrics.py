"""Scores: objects fed with `update()` while predictions stream by, which then tell `scores()` and `report()`.

`scores()` maps a name to a number; the first one selects the best model unless the user names another.
`report()` gives the lines to log, in UER's format where UER has one. Only numpy is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from uer.errors import pick

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EPSILON = 1e-9  # UER's, in every ratio: a label that never occurs scores 0 instead of dividing by 0


class Metric(Protocol):
    """What the training loop and the tasks need of a metric."""

    def scores(self) -> dict[str, float]:
        """Name → number, the selecting one first."""

    def report(self) -> list[str]:
        """The lines to log."""


def select(scores: Mapping[str, float], name: str | None) -> float:
    """The score that decides which model is the best: the one named `name`, or the first.

    Raises:
        ConfigError: no such score.
    """
    return next(iter(scores.values())) if name is None else pick(name, dict(scores), "--best_metric")


def label_scores(matrix: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Precision, recall and F1 of each label, from counts [predicted, gold]; float64 [C] each."""
    hits = np.diagonal(matrix).astype(np.float64)
    precision = hits / (matrix.sum(axis=1) + EPSILON)
    recall = hits / (matrix.sum(axis=0) + EPSILON)
    return precision, recall, 2 * precision * recall / (precision + recall + EPSILON)


class Confusion:
    """Counts of predicted and gold labels, and all that follows from them.

    Args:
        labels: their number, or their names in id order.

    Attributes:
        matrix: int64 [C, C], rows predicted, columns gold.
    """

    def __init__(self, labels: int | Sequence[str]) -> None:
        self.names = [str(i) for i in range(labels)] if isinstance(labels, int) else list(labels)
        self.matrix = np.zeros((len(self.names), len(self.names)), np.int64)

    def update(self, predicted: ArrayLike, gold: ArrayLike) -> None:
        """Count label ids [n] and [n]."""
        size = len(self.names)
        cells = np.asarray(predicted, np.int64) * size + np.asarray(gold, np.int64)
        self.matrix += np.bincount(cells.ravel(), minlength=size * size).reshape(size, size)

    @property
    def total(self) -> int:
        """Number of predictions."""
        return int(self.matrix.sum())

    @property
    def correct(self) -> int:
        """Number of right predictions."""
        return int(np.trace(self.matrix))

    @property
    def accuracy(self) -> float:
        """Share of right predictions; 0 when there are none."""
        return self.correct / self.total if self.total else 0.0

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels, each counting once."""
        return float(label_scores(self.matrix)[2].mean())

    @property
    def mcc(self) -> float:
        """Matthews correlation for any number of labels (Gorodkin 2004), 0 where it is not defined."""
        predicted, gold = self.matrix.sum(axis=1).astype(float), self.matrix.sum(axis=0).astype(float)
        total = float(self.total)
        spread = np.sqrt((total**2 - (predicted**2).sum()) * (total**2 - (gold**2).sum()))
        return float((self.correct * total - (predicted * gold).sum()) / spread) if spread else 0.0

    def scores(self) -> dict[str, float]:
        """Accuracy (which micro F1 equals, each row having one label), macro F1, Matthews correlation."""
        return {
            "acc": self.accuracy,
            "macro_f1": self.macro_f1,
            "micro_f1": self.accuracy,
            "mcc": self.mcc,
        }

    def report(self) -> list[str]:
        """UER's lines: the matrix, one line a label, the accuracy (which ends in a blank)."""
        ratios = zip(self.names, *label_scores(self.matrix))
        return [
            "Confusion matrix:",
            matrix_text(self.matrix),
            "Report precision, recall, and f1:",
            *(f"Label {name}: {p:.3f}, {r:.3f}, {f1:.3f}" for name, p, r, f1 in ratios),
            self.accuracy_line(),
        ]

    def accuracy_line(self) -> str:
        """UER's last line."""
        return f"Acc. (Correct/Total): {self.accuracy:.4f} ({self.correct}/{self.total}) "


def matrix_text(matrix: NDArray) -> str:
    """A matrix of counts as torch prints an integer tensor, which is how UER's logs show it."""
    # torch breaks lines at 80 characters, the closing bracket not counted, and elides beyond 1,000 numbers
    return f"tensor({np.array2string(matrix, separator=', ', prefix='tensor(', max_line_width=81)})"


class Classification:
    """Scores of a classifier: what follows from its labels, and the area under the ROC curve.

    Args:
        labels: names in id order.
        area: compute the area for more than two labels too, which keeps a number a row and label.
    """

    def __init__(self, labels: Sequence[str], *, area: bool = False) -> None:
        self.confusion = Confusion(labels)
        self.auc = Auc(len(labels)) if area or len(labels) == 2 else None

    def update(self, logits: NDArray, gold: ArrayLike) -> None:
        """Add logits [n, C] and label ids [n]."""
        self.confusion.update(logits.argmax(axis=1), gold)
        if self.auc is not None:
            self.auc.update(softmax(logits), gold)

    def scores(self) -> dict[str, float]:
        """See `Confusion.scores`; and `auc`."""
        return {**self.confusion.scores(), **(self.auc.scores() if self.auc is not None else {})}

    def report(self) -> list[str]:
        """UER's lines, with the further scores before the last."""
        scores, lines = self.scores(), self.confusion.report()
        further = f"Macro F1: {scores['macro_f1']:.4f}, MCC: {scores['mcc']:.4f}"
        if self.auc is not None:
            further += f", AUC: {scores['auc']:.4f}"
        return [*lines[:-1], further, lines[-1]]


def softmax(logits: NDArray) -> NDArray:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


class Auc:
    """Area under the ROC curve: of label 1 for two labels, else the mean of each label against the rest.

    Keeps a float32 a row and label (a row alone for two labels), since ranks need all of them.
    """

    def __init__(self, labels_num: int) -> None:
        self.labels_num = labels_num
        self._probabilities: list[NDArray] = []
        self._gold: list[NDArray] = []

    def update(self, probabilities: ArrayLike, gold: ArrayLike) -> None:
        """Add probabilities [n, C] and label ids [n]."""
        columns = slice(1, 2) if self.labels_num == 2 else slice(None)
        self._probabilities.append(np.asarray(probabilities, np.float32)[:, columns])
        self._gold.append(np.asarray(gold, np.int64))

    @property
    def value(self) -> float:
        """The area; NaN when no label has both rows of its own and others."""
        if not self._gold:
            return float("nan")
        scores, gold = np.concatenate(self._probabilities), np.concatenate(self._gold)
        labels = [1] if self.labels_num == 2 else range(self.labels_num)
        areas = [binary_auc(scores[:, column], gold == label) for column, label in enumerate(labels)]
        defined = [area for area in areas if not np.isnan(area)]
        return float(np.mean(defined)) if defined else float("nan")

    def scores(self) -> dict[str, float]:
        """The area as `auc`."""
        return {"auc": self.value}

    def report(self) -> list[str]:
        """One line."""
        return [f"AUC: {self.value:.4f}"]


def average_ranks(values: ArrayLike) -> NDArray:
    """Ranks from 1, equal values sharing the mean of theirs; float64 [n]."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[inverse.ravel()]


def binary_auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive row scores above a negative one, ties counting half (Mann-Whitney U)."""
    positive = np.asarray(positive, bool)
    ours, others = int(positive.sum()), int((~positive).sum())
    if not ours or not others:
        return float("nan")
    return float((average_ranks(scores)[positive].sum() - ours * (ours + 1) / 2) / (ours * others))


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


class SetMatch:
    """Rows with several labels: the whole set right, and F1 over the single decisions.

    Args:
        names: the labels in id order.
        thresholds: a label is predicted where its probability is greater. With several, the one with the best
            `by` counts, of equal ones that nearest to 0.5.
        by: the score that chooses among thresholds.
    """

    def __init__(self, names: Sequence[str], thresholds: Sequence[float] = (0.5,), by: str = "acc") -> None:
        self.names, self.thresholds, self.by = list(names), np.asarray(thresholds, np.float64), by
        self.total = 0
        self.correct = np.zeros(len(self.thresholds), np.int64)
        # both, predicted, gold; threshold; label
        self.counts = np.zeros((3, len(self.thresholds), len(self.names)), np.int64)

    def update(self, probabilities: ArrayLike, gold: ArrayLike) -> None:
        """Add probabilities [n, C] and truth values [n, C]."""
        predicted = np.asarray(probabilities)[None] > self.thresholds[:, None, None]
        gold = np.broadcast_to(np.asarray(gold, bool), predicted.shape)
        self.total += gold.shape[1]
        self.correct += (predicted == gold).all(axis=2).sum(axis=1)
        self.counts += np.stack([part.sum(axis=1) for part in (predicted & gold, predicted, gold)])

    @property
    def place(self) -> int:
        """Which of the thresholds counts."""
        values = self._scores()[self.by]
        best = np.flatnonzero(values == values.max())
        return int(best[np.abs(self.thresholds[best] - 0.5).argmin()])

    @property
    def threshold(self) -> float:
        """The threshold that counts."""
        return float(self.thresholds[self.place])

    def _scores(self) -> dict[str, NDArray]:
        """Each score for each threshold."""
        both, predicted, gold = self.counts.astype(np.float64)
        f1 = 2 * both / np.maximum(predicted + gold, 1)
        micro = 2 * both.sum(axis=1) / np.maximum(predicted.sum(axis=1) + gold.sum(axis=1), 1)
        return {"acc": self.correct / max(self.total, 1), "micro_f1": micro, "macro_f1": f1.mean(axis=1)}

    def scores(self) -> dict[str, float]:
        """Exact match, micro F1, macro F1."""
        place = self.place
        return {name: float(values[place]) for name, values in self._scores().items()}

    def report(self) -> list[str]:
        """F1 over decisions, then UER's line about whole sets."""
        scores, correct = self.scores(), self.correct[self.place]
        return [
            f"Micro F1: {scores['micro_f1']:.4f}, macro F1: {scores['macro_f1']:.4f}, "
            f"threshold: {self.threshold:g}",
            f"Acc. (Correct/Total): {scores['acc']:.4f} ({correct}/{self.total}) ",
        ]


class Ranking:
    """Mean reciprocal rank and mean average precision over groups of candidates."""

    def __init__(self) -> None:
        self._reciprocal: list[float] = []
        self._precision: list[float] = []

    def update(self, scores: ArrayLike, gold: ArrayLike) -> None:
        """Add one group: scores [n] and whether each candidate is right [n].

        Candidates of equal score share the best of their ranks for the reciprocal rank, once. A group
        without a right candidate counts with the rank behind its last one, and not in the precision.
        """
        scores, gold = np.asarray(scores), np.asarray(gold, bool)
        if not gold.any():
            self._reciprocal.append(1 / (len(gold) + 1))
            return
        best = scores[gold].max()
        self._reciprocal.append(1 / (1 + int((scores > best).sum())))
        order = np.argsort(-scores, kind="stable")
        hits = gold[order]
        self._precision.append(float((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].mean()))

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


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0
