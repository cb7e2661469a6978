"""Which instances make up which batch: a pure function of (seed, step), for any number of ranks."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from uer.data.random import Permutation
from uer.errors import DataError

ENDS = ("carry", "keep", "drop")
GROUPED = 64  # batches whose instances are sorted by length together


class BatchOrder:
    """The instances of every batch. No state: `batch(n)` costs the same whether or not `batch(n-1)` was
    asked for.

    Each epoch is a permutation of all instances that depends on (seed, epoch) only, cut into global
    batches; the ranks share a global batch among them, so the order of training is the same for any number
    of ranks.

    Args:
        n: number of instances.
        batch_size: instances of one step **over all ranks**.
        seed: names the order.
        rank, world_size: this process and how many there are. Rank r takes every world_size-th instance of
            a batch.
        ends: what happens where an epoch ends: "carry" — the batch is filled up from the next epoch
            (pre-training: every batch is full, nothing is left out); "keep" — the last batch of an epoch
            may be short (fine-tuning); "drop" — it is left out.
        lengths: length of each instance; given, batches hold instances of like length: within 64
            consecutive batches the instances are sorted by length, cut into batches, and the batches
            shuffled.
        shuffle: False keeps the order of the file (evaluation).

    Attributes:
        steps_per_epoch: batches of an epoch; with "carry" rounded up.

    Raises:
        DataError: there are no instances, or with "drop" fewer than one batch.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        ends: str = "carry",
        lengths: np.ndarray | None = None,
        shuffle: bool = True,
    ) -> None:
        assert ends in ENDS and 0 <= rank < world_size and batch_size > 0
        if n == 0:
            raise DataError("there are no instances; the data set is empty.")
        if ends == "drop" and n < batch_size:
            raise DataError(
                f"there are {n} instances and a batch needs {batch_size}; use a smaller --batch_size or "
                "more data."
            )
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.ends, self.lengths, self.shuffle = ends, lengths, shuffle
        self.steps_per_epoch = n // batch_size if ends == "drop" else math.ceil(n / batch_size)
        self._window = lru_cache(maxsize=2)(self._make_window)

    def epoch(self, step: int) -> int:
        """The epoch that the first instance of a step belongs to, from 0."""
        if self.ends == "carry":
            return step * self.batch_size // self.n
        return step // self.steps_per_epoch

    def batch(self, step: int) -> np.ndarray:
        """int64 numbers of this rank's instances in step `step`, from 0. The shares differ by at most one."""
        return self.global_batch(step)[self.rank :: self.world_size]

    def global_batch(self, step: int) -> np.ndarray:
        """int64 numbers of the instances of all ranks in step `step`."""
        assert step >= 0
        epoch, within = (0, step) if self.ends == "carry" else divmod(step, self.steps_per_epoch)
        if self.lengths is None:
            return self._instances(epoch, within * self.batch_size, (within + 1) * self.batch_size)
        window, place = divmod(within, GROUPED)
        return self._window(epoch, window)[place]

    def _instances(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Instances at places start … stop-1 from the beginning of `epoch`; "carry" runs on into the next."""
        if self.ends != "carry":
            return self._permuted(epoch, np.arange(start, min(stop, self.n)))
        parts = []
        while start < stop:
            number, place = divmod(start, self.n)
            taken = min(stop - start, self.n - place)
            parts.append(self._permuted(epoch + number, np.arange(place, place + taken)))
            start += taken
        return np.concatenate(parts)

    def _permuted(self, epoch: int, places: np.ndarray) -> np.ndarray:
        if not self.shuffle:
            return places.astype(np.int64)
        return Permutation(self.n, self.seed, "order", epoch)(places)

    def _make_window(self, epoch: int, window: int) -> list[np.ndarray]:
        """The batches of one window, grouped by length; a short one stays the last."""
        first = window * GROUPED
        last = first + GROUPED if self.ends == "carry" else min(first + GROUPED, self.steps_per_epoch)
        instances = self._instances(epoch, first * self.batch_size, last * self.batch_size)
        instances = instances[np.argsort(self.lengths[instances], kind="stable")]
        batches = [instances[at : at + self.batch_size] for at in range(0, len(instances), self.batch_size)]
        if not self.shuffle:
            return batches
        full = len(instances) // self.batch_size
        order = Permutation(full, self.seed, "group", epoch, window)(np.arange(full))
        return [batches[number] for number in order] + batches[full:]
