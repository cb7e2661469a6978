"""From probabilities of starts and ends to spans: any number of them in a text, also none.

Shapes: T tokens of a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from uer.metrics.spans import ratios
from uer.metrics.tables import Table, ratio_table


class Span(NamedTuple):
    """A stretch of tokens, both ends included, and the probability of its start times that of its end."""

    start: int
    end: int
    probability: float


def paired(starts: np.ndarray, ends: np.ndarray, threshold: float) -> list[Span]:
    """The spans of a text, none within another: every end goes with the nearest start before it that no
    earlier end cuts off from it. This is how PaddleNLP's UIE pairs its pointers.

    Args:
        starts, ends: [T] probabilities. threshold: a token is a start or an end where it is greater.
    """
    begun, ended = np.flatnonzero(starts > threshold), np.flatnonzero(ends > threshold)
    nearest = np.searchsorted(begun, ended, side="right") - 1
    floors = np.concatenate([[-1], ended[:-1]])
    return [
        Span(int(begun[at]), int(end), float(starts[begun[at]] * ends[end]))
        for end, at, floor in zip(ended, nearest, floors)
        if at >= 0 and begun[at] > floor
    ]


def chosen(windows: Sequence[Sequence[Span]]) -> Span | None:
    """The one answer of a prompt that offers some, over all windows of its text: what most windows choose,
    then what is likeliest. Its probability is the mean over those windows.
    """
    votes: dict[tuple[int, int], list[float]] = {}
    for spans in windows:
        for span in spans:
            votes.setdefault((span.start, span.end), []).append(span.probability)
    if not votes:
        return None
    best = max(votes, key=lambda place: (len(votes[place]), sum(votes[place])))
    return Span(*best, sum(votes[best]) / len(votes[best]))


class SpanSets:
    """Precision, recall and F1 of sets of spans, over all texts together."""

    def __init__(self) -> None:
        self.counts: dict[str, np.ndarray] = {}
        """what is asked → right, predicted and gold spans"""

    def update(
        self, predicted: Iterable[tuple[int, ...]], gold: Iterable[tuple[int, ...]], asked: str = ""
    ) -> None:
        """The spans of one prompt and text; `asked`: the kind of prompt."""
        ours, theirs = set(predicted), set(gold)
        counts = self.counts.setdefault(asked, np.zeros(3, np.int64))
        counts += (len(ours & theirs), len(ours), len(theirs))

    def tables(self) -> list[Table]:
        """The scores of each kind of prompt."""
        names = sorted(self.counts)
        counts = np.stack([self.counts[name] for name in names], axis=1)
        return [ratio_table("prompt", names, *ratios(counts), counts[2])]

    def scores(self) -> dict[str, float]:
        """`f1`, `precision`, `recall`."""
        precision, recall, f1 = ratios(sum(self.counts.values(), np.zeros(3, np.int64)))
        return {"f1": float(f1), "precision": float(precision), "recall": float(recall)}

    def report(self) -> list[str]:
        """UER's two lines."""
        scores = self.scores()
        listed = ", ".join(f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))
        return ["Report precision, recall, and f1:", listed]
