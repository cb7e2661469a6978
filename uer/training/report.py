"""Figures of a stretch of training, and the lines that UER prints of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from uer.targets.term import Term
from uer.training.workers import Workers

FOLD = 512  # terms kept as tensors before they are added up


class Sums(NamedTuple):
    """One term over many batches."""

    loss_sum: float
    count: int
    correct: int
    weight: float = 1.0
    """what its mean counts in the sum of all losses"""

    @property
    def loss(self) -> float:
        """Mean loss of a prediction; not a number when there was none."""
        return self.loss_sum / self.count if self.count else float("nan")

    @property
    def scored(self) -> bool:
        """Whether its predictions are right or wrong."""
        return self.correct >= 0

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return self.correct / max(1, self.count)


@dataclass(frozen=True)
class Report:
    """What happened since the report before.

    Attributes:
        step, total: batches done, and of the whole run.
        batches: batches since the report before.
        terms: name → sums, in the order of the targets.
        seconds: time spent training (saving and evaluating not counted).
        positions: of the source grids of all workers, padding included.
        tokens: real tokens of all sides and workers.
        rate: learning rate of the last update.
        gradient_norm: of the last update, before clipping.
        skipped: updates skipped since the start for want of a finite loss and gradient.
    """

    step: int
    total: int
    batches: int
    terms: dict[str, Sums]
    seconds: float
    positions: int
    tokens: int
    rate: float
    gradient_norm: float
    skipped: int

    @property
    def loss(self) -> float:
        """Sum of the mean losses of all terms, each times its weight."""
        return total_loss(self.terms)

    def record(self) -> dict[str, Any]:
        """One line of the metrics file."""
        seconds = max(self.seconds, 1e-9)
        figures: dict[str, Any] = {"step": self.step, "loss": self.loss}
        for name, sums in self.terms.items():
            figures[f"loss_{name}"] = sums.loss
            if sums.scored:
                figures[f"acc_{name}"] = sums.accuracy
        figures = {
            **figures,
            "learning_rate": self.rate,
            "gradient_norm": self.gradient_norm,
            "tokens_per_second": round(self.tokens / seconds, 2),
            "positions_per_second": round(self.positions / seconds, 2),
            "seconds": round(self.seconds, 4),
            "skipped": self.skipped,
        }
        # JSON has no word for what is not a number.
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def total_loss(terms: Mapping[str, Sums]) -> float:
    """Sum of the mean losses, each times its weight."""
    return sum(sums.weight * sums.loss for sums in terms.values())


def pretraining_line(report: Report) -> str:
    """UER's line of its pre-training; tokens/s counts padding, as UER does.

    The terms of two directions are printed without the colon behind their losses, as UER does.
    """
    line = (
        f"| {report.step:8d}/{report.total:8d} steps"
        f"| {report.positions / max(report.seconds, 1e-9):8.2f} tokens/s"
        f"| loss {report.loss:7.2f}"
    )
    if len(report.terms) == 1:
        return line + "".join(f"| acc: {sums.accuracy:3.3f}" for sums in report.terms.values() if sums.scored)
    terms = {name.removeprefix("bilm_"): sums for name, sums in report.terms.items()}
    scored = {name: sums for name, sums in terms.items() if sums.scored}
    colon = "" if "forward" in terms else ":"
    losses = "".join(f"| loss_{name}{colon} {sums.loss:3.3f}" for name, sums in terms.items())
    return line + losses + "".join(f"| acc_{name}: {sums.accuracy:3.3f}" for name, sums in scored.items())


def finetuning_line(steps_per_epoch: int) -> Callable[[Report], str]:
    """UER's line of its fine-tuning: numbers of the epoch and of the batch in it (from 1), mean loss."""

    def line(report: Report) -> str:
        """The line of one report."""
        epoch, step = divmod(report.step - 1, steps_per_epoch)
        return f"Epoch id: {epoch + 1}, Training steps: {step + 1}, Avg loss: {report.loss:.3f}"

    return line


@dataclass
class Meter:
    """Adds up what the batches give between two reports; nothing is read from the device before that."""

    _sums: dict[str, list[float]] = field(default_factory=dict)
    _waiting: dict[str, list[tuple]] = field(default_factory=dict)
    _weights: dict[str, float] = field(default_factory=dict)
    batches: int = 0
    positions: int = 0
    tokens: int = 0

    def add(self, terms: dict[str, Term], positions: int, tokens: int) -> None:
        """Take in one batch."""
        self.batches += 1
        self.positions += positions
        self.tokens += tokens
        for name, term in terms.items():
            waiting = self._waiting.setdefault(name, [])
            waiting.append((term.loss_sum.detach(), term.count, term.correct))
            self._weights[name] = term.weight
            if len(waiting) >= FOLD:
                self._fold(name)

    def _fold(self, name: str) -> None:
        sums = self._sums.setdefault(name, [0.0, 0.0, 0.0])
        values = [torch.stack(column).double() for column in zip(*self._waiting.pop(name, []))]
        finite = torch.isfinite(
            values[0]
        )  # skipped updates are said elsewhere; they would hide all the others here
        for place, column in enumerate(values):
            sums[place] += float(column[finite].sum())

    def sums(self) -> dict[str, Sums]:
        """The terms so far."""
        for name in list(self._waiting):
            self._fold(name)
        return {
            name: Sums(loss, int(count), int(correct), self._weights[name])
            for name, (loss, count, correct) in self._sums.items()
        }

    def totals(self, workers: Workers) -> tuple[dict[str, Sums], int, int]:
        """Terms, positions and tokens of all workers; all of them ask at the same step."""
        terms = self.sums()
        flat = [float(figure) for sums in terms.values() for figure in sums[:3]]
        values = torch.tensor([*flat, self.positions, self.tokens], dtype=torch.float64)
        *flat, positions, tokens = workers.sum(values).tolist()
        triples = zip(flat[::3], flat[1::3], flat[2::3])
        added = {
            name: Sums(loss, int(n), int(right), sums.weight)
            for (name, sums), (loss, n, right) in zip(terms.items(), triples)
        }
        return added, int(positions), int(tokens)


class Stopwatch:
    """Seconds spent training: it stands still while something else is done."""

    def __init__(self) -> None:
        self._spent, self._since = 0.0, time.perf_counter()

    def pause(self) -> None:
        """Stand still."""
        self._spent += time.perf_counter() - self._since

    def go_on(self) -> None:
        """Run again."""
        self._since = time.perf_counter()

    def read(self) -> float:
        """Seconds since the reading before."""
        self.pause()
        seconds, self._spent = self._spent, 0.0
        self.go_on()
        return seconds
