"""From logits of starts and ends to answers: the best spans of windows, and of questions over all windows.

Shapes: B windows, L length, M most tokens of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from uer.metrics import AnswerMatch
from uer.metrics.classification import softmax


class Spans(NamedTuple):
    """The best spans of each window, [B, n] each, best first; -inf where a window has no more."""

    score: np.ndarray
    """probability of the start + that of the end, each over all tokens of the window"""
    start: np.ndarray
    end: np.ndarray
    """places in the window, both included"""
    null: np.ndarray
    """[B], the score of `[CLS]`, which stands for no answer"""


def best_spans(logits: np.ndarray, begin: np.ndarray, stop: np.ndarray, *, longest: int, count: int) -> Spans:
    """The best spans within [begin, stop) of each window.

    UER takes the best start and then the best end behind it, so its score is never higher.

    Args:
        logits: [B, L, 2] of starts and ends; very low at padding.
        longest: M.
    """
    chances = softmax(np.moveaxis(logits, 2, 1).astype(np.float64))
    starts, ends = chances[:, 0], chances[:, 1]
    null = starts[:, 0] + ends[:, 0]
    place = np.arange(logits.shape[1])
    allowed = (place >= begin[:, None]) & (place < stop[:, None])
    starts = np.where(allowed, starts, -np.inf)
    ends = np.pad(np.where(allowed, ends, -np.inf), ((0, 0), (0, longest - 1)), constant_values=-np.inf)
    sums = starts[:, :, None] + np.lib.stride_tricks.sliding_window_view(ends, longest, axis=1)
    sums = sums.reshape(len(logits), -1)  # [B, L·M]
    count = min(count, sums.shape[1])
    top = np.argpartition(-sums, count - 1, axis=1)[:, :count]
    score = np.take_along_axis(sums, top, axis=1)
    order = np.argsort(-score, axis=1, kind="stable")
    top, score = np.take_along_axis(top, order, axis=1), np.take_along_axis(score, order, axis=1)
    start, length = np.divmod(top, longest)
    return Spans(score, start, start + length, null)


class Answer(NamedTuple):
    """A span of tokens of a context, both ends included; `start` -1 stands for no answer."""

    score: float
    start: int
    end: int


def _rank(answer: Answer) -> tuple[float, int, int]:
    """Orders answers, the best first."""
    return -answer.score, answer.start, answer.end


class AnswerCollector:
    """The best answers of each question, gathered from its windows in any order; scored when all are there.

    Of spans with one text the best stands for all, as in SQuAD's own lists.

    Args:
        count: answers kept of each question.
        threshold: no answer is predicted where its score is so much above the best answer's; None: never.
        match: makes a fresh metric.
    """

    def __init__(
        self,
        *,
        count: int = 1,
        threshold: float | None = None,
        match: Callable[[], AnswerMatch] = AnswerMatch,
    ) -> None:
        self.count, self.threshold, self.match = count, threshold, match
        self.gold: Sequence[Sequence[str]] = ()
        self._best: list[dict[str, Answer]] = []

    def bind(self, gold: Sequence[Sequence[str]], text: Callable[[int, Answer], str]) -> None:
        """Say what the questions are, before the first update; again is of no effect.

        Args:
            gold: the right texts of each question. text: question and answer → the answer's text.
        """
        if not self._best:
            self.gold, self.text = gold, text
            self._best = [{} for _ in gold]
            self._null = np.full(len(gold), np.inf)

    def update(self, question: np.ndarray, shift: np.ndarray, spans: Spans) -> None:
        """Add windows: the question of each [B], and what to add to a place to have one in the context."""
        np.minimum.at(self._null, question, spans.null)
        for row, number in enumerate(question.tolist()):
            best = self._best[number]
            for score, start, end in zip(spans.score[row], spans.start[row], spans.end[row]):
                if np.isfinite(score):
                    answer = Answer(float(score), int(start + shift[row]), int(end + shift[row]))
                    text = self.text(number, answer)
                    best[text] = min(answer, best.get(text, answer), key=_rank)
            if len(best) > self.count:
                kept = sorted(best.items(), key=lambda item: _rank(item[1]))[: self.count]
                self._best[number] = dict(kept)

    def answers(self, question: int) -> list[Answer]:
        """The answers of a question, the predicted one first, then by score."""
        found = sorted(self._best[question].values(), key=_rank)
        null = Answer(float(self._null[question]), -1, -1)
        if not found:
            return [null]
        if self.threshold is None:
            return found
        first = null.score - found[0].score > self.threshold
        return [null, *found] if first else [found[0], null, *found[1:]]

    def listed(self, question: int) -> list[dict[str, str | float]]:
        """The `count` first answers of a question as texts with their scores."""
        found = self.answers(question)[: self.count]
        return [{"text": self.text(question, answer), "score": answer.score} for answer in found]

    def metric(self) -> AnswerMatch:
        """The scores of the predicted answers."""
        match = self.match()
        for number, gold in enumerate(self.gold):
            answer = self.answers(number)[0]
            match.update(None if answer.start < 0 else self.text(number, answer), gold)
        return match

    def scores(self) -> dict[str, float]:
        """See `AnswerMatch.scores`."""
        return self.metric().scores()

    def report(self) -> list[str]:
        """See `AnswerMatch.report`."""
        return self.metric().report()
