"""Learning-rate schedules as pure functions of the number of updates done.

`t` updates done, `w` length of the warm-up (not rounded), `n` updates of the whole run. Update k uses
f(k - 1), so with a warm-up the first one runs at rate 0, as in UER-py and `transformers`. Nothing is stored:
resuming needs only `t`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from uer.config.training import OptimizerOptions
from uer.errors import pick

FINAL_RATE = 1e-7  # where polynomial and inverse_sqrt end
TRI_STAGE_START, TRI_STAGE_END = 0.01, 0.05


@dataclass(frozen=True)
class Schedule:
    """What a schedule is a function of, besides the number of updates done.

    Attributes:
        name: one of `uer.config.training.SCHEDULERS`.
        total: updates of the whole run (n).
        warmup: length of the warm-up in updates (w), any fraction.
        decay: length of tri_stage's decay in updates.
        learning_rate: the peak rate.
    """

    name: str
    total: int
    warmup: float
    decay: float
    learning_rate: float

    def factor(self, t: int) -> float:
        """The share of the peak rate that the update after `t` others uses."""
        if self.name == "constant":
            return 1.0
        if t < self.warmup:
            rise = t / max(1.0, self.warmup)
            return TRI_STAGE_START + (1 - TRI_STAGE_START) * rise if self.name == "tri_stage" else rise
        return pick(self.name, AFTER_WARMUP, "--scheduler")(self, t)

    def rate(self, t: int) -> float:
        """The learning rate that the update after `t` others uses."""
        return self.learning_rate * self.factor(t)

    def _progress(self, t: int) -> float:
        """0 at the end of the warm-up, 1 at the end of the run."""
        return (t - self.warmup) / max(1.0, self.total - self.warmup)


def _linear(s: Schedule, t: int) -> float:
    """A straight line to 0."""
    return max(0.0, 1 - s._progress(t))


def _cosine(s: Schedule, t: int) -> float:
    """Half a cosine wave from 1 to 0 (and up again, for whoever goes on)."""
    return max(0.0, 0.5 * (1 + math.cos(math.pi * s._progress(t))))


def _cosine_with_restarts(s: Schedule, t: int) -> float:
    """One cycle of the cosine, 0 after it."""
    return 0.0 if t >= s.total else _cosine(s, t)


def _polynomial(s: Schedule, t: int) -> float:
    """A straight line (power 1) to 1e-7."""
    if t > s.total:
        return FINAL_RATE / s.learning_rate
    left = 1 - (t - s.warmup) / max(1e-12, s.total - s.warmup)
    return ((s.learning_rate - FINAL_RATE) * left + FINAL_RATE) / s.learning_rate


def _constant(s: Schedule, t: int) -> float:
    """1."""
    return 1.0


def _inverse_sqrt(s: Schedule, t: int) -> float:
    """sqrt(w / t); without a warm-up w counts as 1."""
    if t > s.total:
        return FINAL_RATE / s.learning_rate
    return math.sqrt(s.warmup or 1.0) / math.sqrt(max(1, t))


def _tri_stage(s: Schedule, t: int) -> float:
    """1, then over the last `decay` updates exponentially to 0.05."""
    start = s.total - s.decay
    if t < start:
        return 1.0
    if t >= s.total:
        return TRI_STAGE_END
    return math.exp(math.log(TRI_STAGE_END) * (t - start) / s.decay)


AFTER_WARMUP: dict[str, Callable[[Schedule, int], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _polynomial,
    "constant": _constant,
    "constant_with_warmup": _constant,
    "inverse_sqrt": _inverse_sqrt,
    "tri_stage": _tri_stage,
}


def build_schedule(options: OptimizerOptions, updates: int) -> Schedule:
    """The schedule of a run of `updates` updates."""
    return Schedule(
        name=options.scheduler,
        total=updates,
        warmup=updates * options.warmup,
        decay=updates * options.lr_decay,
        learning_rate=options.learning_rate,
    )
