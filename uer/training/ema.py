"""A running mean of the weights, which is often a better model than the last weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from uer.training.engines.base import Engine


class WeightAverage:
    """mean ← d·mean + (1 - d)·weights after each update, d = min(decay, (1 + k) / (10 + k)) after k updates.

    The second bound lets the mean forget the first weights. Each worker keeps the mean of its pieces.

    Args:
        engine: the weights that it trains are averaged.
        decay: of `--ema_decay`.
    """

    def __init__(self, engine: Engine, decay: float) -> None:
        self.engine, self.decay = engine, decay
        self.means = self._copies()

    def _copies(self) -> list[Tensor]:
        return [piece.clone() for piece in self.engine.pieces()]

    @torch.no_grad()
    def update(self, done: int, found_inf: Tensor) -> None:
        """Take in the weights of an update.

        Args:
            done: k, updates before it.
            found_inf: 1 when it was skipped; then the means stay.
        """
        if self.means:
            share = (1 - min(self.decay, (1 + done) / (10 + done))) * (1 - found_inf)
            steps = torch._foreach_sub(self.engine.pieces(), self.means)
            torch._foreach_mul_(steps, share.to(steps[0].device))
            torch._foreach_add_(self.means, steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the means in the block; every worker must enter it."""
        kept = self._copies()
        self.engine.fill(self.means)
        try:
            yield
        finally:
            self.engine.fill(kept)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over the means of a checkpoint, which are whole; every worker must call it."""
        kept = self._copies()
        self.engine.load_weights(state)
        self.means = self._copies()
        self.engine.fill(kept)
