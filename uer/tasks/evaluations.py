"""The evaluations of a run of fine-tuning: which of them is the best, and when it is enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from uer.metrics import Metric, select
from uer.training.adversarial import Attack
from uer.training.engines.base import Tensors
from uer.training.loop import Evaluating, Saving
from uer.training.run import Run
from uer.utils.logging import logger


@dataclass
class Best:
    """The best evaluation so far.

    Attributes:
        score: of the selecting metric; below all numbers until there is one.
        epoch: the epoch it was reached in, from 1.
        step: batches done until then.
        scores: all scores of that evaluation.
    """

    score: float = -math.inf
    epoch: int = 0
    step: int = 0
    scores: dict[str, float] = field(default_factory=dict)

    def take(self, scores: dict[str, float], name: str | None, *, epoch: int, step: int) -> bool:
        """Whether an evaluation is strictly better than all before; then it is the best."""
        score = select(scores, name)
        if not score > self.score:
            return False
        self.score, self.epoch, self.step, self.scores = score, epoch, step, dict(scores)
        return True


class _EnoughError(Exception):
    """Ends a run whose score does not rise any more."""


@dataclass
class Patience:
    """Counts evaluations in a row without a better score.

    Attributes:
        metric: which score; None: the selecting one.
        limit: so many in a row are one too many.
        best, waited: the best score so far, and evaluations since it.
    """

    metric: str | None
    limit: int
    best: float = -math.inf
    waited: int = 0

    def enough(self, scores: dict[str, float]) -> bool:
        """Take in an evaluation; whether it is one too many."""
        score = select(scores, self.metric)
        self.waited = 0 if score > self.best else self.waited + 1
        self.best = max(self.best, score) if not math.isnan(score) else self.best
        return self.waited >= self.limit


@dataclass
class Evaluations:
    """The evaluations of one run: the best is kept, and a run that gets no better is ended.

    Attributes:
        run: the model, ready to be trained.
        period: batches of an epoch.
        metric: which score chooses; None: the first one.
        score: the metric of the model as it stands, on the development file.
        save: keeps these weights, or the model's own where they are None; None: nothing is kept.
        patience: counts evaluations without a better score; None: the run is never ended.
        best: the best of them so far.
    """

    run: Run
    period: int
    metric: str | None
    score: Callable[[], Metric]
    save: Callable[[Tensors | None], None] | None
    patience: Patience | None
    best: Best = field(default_factory=Best)

    def __post_init__(self) -> None:
        if self.run.progress is not None:
            self.best = Best(**self.run.progress["best"])
            if self.patience is not None:
                self.patience.best, self.patience.waited = self.run.progress["patience"]

    def counters(self) -> dict[str, Any]:
        """What a resumed run goes on from."""
        patience = self.patience
        return {"best": asdict(self.best), "patience": patience and [patience.best, patience.waited]}

    def keep(self, step: int) -> None:
        """Save the model as it stands after `step` batches; every worker must call it.

        Raises:
            UerError: its weights are not all finite.
        """
        engine, workers = self.run.engine, self.run.means.workers
        engine.check_finite(step)
        weights = None if engine.whole else engine.weights()
        if workers.is_first:
            self.save(weights)
        workers.first_says(True)  # until it is there: all of them may read it next

    def evaluate(self, step: int) -> None:
        """Say, record and compare what the model is worth after `step` batches.

        Raises:
            _EnoughError: the run is to end here.
        """
        log, workers = self.run.log, self.run.means.workers
        metric, epoch = self.score(), math.ceil(step / self.period)
        scores = metric.scores()
        for line in metric.report():
            log.say("%s", line)
        log.record({"step": step, "epoch": epoch, **{f"dev_{name}": x for name, x in scores.items()}})
        better = self.best.take(scores, self.metric, epoch=epoch, step=step)
        if better or not self.best.epoch:  # before there is a best, the page shows the newest
            log.result("Development, the best evaluation", metric)
        if workers.first_says(better) and self.save is not None:
            self.keep(step)
        if self.patience is not None and workers.first_says(self.patience.enough(scores)):
            raise _EnoughError

    def train(self, every: int, *, saving: Saving | None, attack: Attack | None) -> Best:
        """Train, with an evaluation every so many batches; the best of them comes back."""
        run = self.run
        try:
            run.train(saving=saving, evaluating=Evaluating(self.evaluate, every), attack=attack)
        except _EnoughError:
            limit = self.patience.limit
            run.log.say("No better score in %d evaluations (--early_stopping): training ends here.", limit)
        if not self.best.epoch and self.save is not None:
            logger.warning(
                "No evaluation had a score that is a number, so none is the best; the last one is saved."
            )
            self.keep(run.windows.total)
        return self.best
