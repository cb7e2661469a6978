"""A running mean of the weights, which is often a better model than the last weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """mean ← d·mean + (1 - d)·weights after each update, d = min(decay, (1 + k) / (10 + k)) after k updates.

    The second bound lets the mean forget the first weights.

    Args:
        model: its parameters are averaged.
        decay: of `--ema_decay`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        kept = model.state_dict().keys()  # a frozen teacher is not part of it
        self.params = {name: param for name, param in model.named_parameters() if name in kept}
        self.means = {name: param.detach().clone() for name, param in self.params.items()}

    @torch.no_grad()
    def update(self, done: int, found_inf: Tensor) -> None:
        """Take in the weights of an update.

        Args:
            done: k, updates before it.
            found_inf: 1 when it was skipped; then the means stay.
        """
        share = (1 - min(self.decay, (1 + done) / (10 + done))) * (1 - found_inf)
        means = list(self.means.values())
        steps = torch._foreach_sub([param.detach() for param in self.params.values()], means)
        torch._foreach_mul_(steps, share)
        torch._foreach_add_(means, steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the means in the block."""
        kept = {name: param.detach().clone() for name, param in self.params.items()}
        self._fill(self.means)
        try:
            yield
        finally:
            self._fill(kept)

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, param in self.params.items():
            param.copy_(values[name])

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over the means of a checkpoint."""
        for name, mean in self.means.items():
            mean.copy_(state[name])
