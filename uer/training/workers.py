"""The processes that train together. Alone, all of it is nothing to do."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


class Workers:
    """One process by itself; a distributed engine overrides what its processes do together.

    Attributes:
        rank: number of this process, from 0; rank 0 reports and saves.
        size: number of processes.
        device: where this process computes.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.rank, self.size, self.device = 0, 1, torch.device(device)

    @property
    def is_first(self) -> bool:
        """Whether this process reports and saves."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call forward on; its gradients are the mean over all processes."""
        return model

    def hold_gradients(self, module: nn.Module) -> AbstractContextManager:
        """Backward passes in the block keep their gradients to themselves (all but a window's last)."""
        return contextlib.nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        return values

    def any(self, flag: Tensor) -> Tensor:
        """1 where any process has 1."""
        return flag

    def comparing(self, live: bool) -> AbstractContextManager:
        """Losses that compare the rows of a batch find those of all processes in the block.

        Args:
            live: whether the rows of this process count.
        """
        return contextlib.nullcontext()

    def first_says(self, decision: bool) -> bool:
        """What the first process decided."""
        return bool(self.any(torch.tensor(float(decision and self.is_first), device=self.device)))

    def agree(self, what: str, value: str) -> None:
        """Make sure that all processes were told the same."""

    def check_ids(self, ids: Sequence[int]) -> None:
        """Make sure that no two processes were dealt the same instances."""

    def of_all(self, ids: Sequence[int]) -> list[int]:
        """Instances of all processes, by turns."""
        return list(ids)

    def unwatched(self) -> AbstractContextManager:
        """What is done in the block (evaluation, saving) may take as long as it likes."""
        return contextlib.nullcontext()

    def alive(self) -> None:
        """Called every update."""

    def finished(self) -> None:
        """No further update will come."""

    def explained(self, error: RuntimeError) -> Exception:
        """What an error means, when it is one of the exchange between processes; else the error itself."""
        return error

    def close(self) -> None:
        """Part from the other processes."""
