"""Corpora in given shares: nothing is copied, instances of a corpus with a large share come up more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Mixture:
    """Numbers 0 … len-1, each standing for an instance, so that every corpus has its share of them.

    An epoch goes through all of these numbers. The corpus that is scarcest for its share is gone through
    once in an epoch, the others once or more often, so nothing is left out.

    Args:
        parts: of each corpus its first instance, its number of instances, and its share.
    """

    def __init__(self, parts: Sequence[Mapping[str, Any]]) -> None:
        self._first = np.array([part["first"] for part in parts], np.int64)
        self._instances = np.array([part["instances"] for part in parts], np.int64)
        shares = np.array([part["share"] for part in parts], float)
        total = (self._instances / shares).max()
        self.sizes = np.maximum(np.rint(total * shares).astype(np.int64), self._instances)
        self._ends = np.cumsum(self.sizes)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """The instances that the numbers stand for."""
        part = np.searchsorted(self._ends, numbers, side="right")
        within = numbers - (self._ends - self.sizes)[part]
        return self._first[part] + within % self._instances[part]

    def over(self, values: np.ndarray) -> Values:
        """A property of instances as one of these numbers."""
        return Values(self, values)


class Values:
    """`values[mixture(numbers)]`, looked up as it is asked for."""

    def __init__(self, mixture: Mixture, values: np.ndarray) -> None:
        self._mixture, self._values = mixture, values

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        return self._values[self._mixture(numbers)]
