"""Scores: objects fed with `update()` while predictions stream by, which then tell `scores()` and `report()`.

`scores()` maps a name to a number; the first one selects the best model unless the user names another.
`report()` gives the lines to log, in UER's format where UER has one. Only numpy is needed
(NLTK, for English in answers). `tables()`, where a metric has it, gives what the page of a run shows too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from uer.errors import pick
from uer.metrics.answers import AnswerMatch
from uer.metrics.classification import Auc, Classification, Confusion, SetMatch
from uer.metrics.ranks import Correlation, GroupRanking, Ranking
from uer.metrics.spans import SpanF1
from uer.metrics.tables import Table, tables_of
from uer.metrics.texts import TextMatch

__all__ = [
    "AnswerMatch",
    "Auc",
    "Classification",
    "Confusion",
    "Correlation",
    "GroupRanking",
    "Metric",
    "Ranking",
    "SetMatch",
    "SpanF1",
    "Table",
    "TextMatch",
    "select",
    "tables_of",
]


class Metric(Protocol):
    """What the training loop and the tasks need of a metric."""

    def scores(self) -> dict[str, float]:
        """Name → number, the selecting one first."""

    def report(self) -> list[str]:
        """The lines to log."""


def select(scores: Mapping[str, float], name: str | None, flag: str = "--best_metric") -> float:
    """The score that decides which model is the best: the one that `flag` names, or the first.

    Raises:
        ConfigError: no such score.
    """
    return next(iter(scores.values())) if name is None else pick(name, dict(scores), flag)
