"""Scores of labels: accuracy, precision, recall, F1, correlation, area under the ROC curve, label sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from uer.metrics.ranks import average_ranks
from uer.metrics.tables import Table, confusion_table, ratio_table

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EPSILON = 1e-9  # UER's, in every ratio: a label that never occurs scores 0 instead of dividing by 0


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

    def tables(self) -> list[Table]:
        """The matrix, and the scores of each label."""
        ratios = label_scores(self.matrix)
        return [
            confusion_table(self.matrix, self.names),
            ratio_table("label", self.names, *ratios, self.matrix.sum(axis=0)),
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

    def tables(self) -> list[Table]:
        """See `Confusion.tables`."""
        return self.confusion.tables()


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


def binary_auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive row scores above a negative one, ties counting half (Mann-Whitney U)."""
    positive = np.asarray(positive, bool)
    ours, others = int(positive.sum()), int((~positive).sum())
    if not ours or not others:
        return float("nan")
    return float((average_ranks(scores)[positive].sum() - ours * (ours + 1) / 2) / (ours * others))


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

    def tables(self) -> list[Table]:
        """The scores of each label by itself, by the threshold that counts."""
        both, predicted, gold = self.counts[:, self.place].astype(np.float64)
        ratios = both / np.maximum(predicted, 1), both / np.maximum(gold, 1)
        f1 = 2 * both / np.maximum(predicted + gold, 1)
        return [ratio_table("label", self.names, *ratios, f1, gold)]

    def report(self) -> list[str]:
        """F1 over decisions, then UER's line about whole sets."""
        scores, correct = self.scores(), self.correct[self.place]
        return [
            f"Micro F1: {scores['micro_f1']:.4f}, macro F1: {scores['macro_f1']:.4f}, "
            f"threshold: {self.threshold:g}",
            f"Acc. (Correct/Total): {scores['acc']:.4f} ({correct}/{self.total}) ",
        ]
