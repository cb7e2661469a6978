"""What every objective and every task hands to the training loop."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

IGNORE = -100  # label of a position at which nothing is predicted


@dataclass
class Batch:
    """One batch, as NumPy arrays.

    Attributes:
        inputs: int64 arrays as `Model.forward` takes them: `src`, `seg` [B, L] and whatever the objective
            adds.
        labels: one int64 array a prediction, [B, L], [B, T] or [B]; `IGNORE` where nothing is predicted.
        counts: predictions of each term, known without running the model.
        ids: int64 [B], the numbers of the instances.
        live: False for the batch of a worker that has no row of its own in a step: its counts are 0, and its
            losses count for nothing.
    """

    inputs: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    counts: dict[str, int]
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    live: bool = True

    @classmethod
    def counted(cls, inputs: dict[str, np.ndarray], labels: dict[str, np.ndarray], ids: np.ndarray) -> Batch:
        """A batch whose counts are read from its labels."""
        counts = {name: int(np.count_nonzero(values != IGNORE)) for name, values in labels.items()}
        return cls(inputs, labels, counts, ids)

    def idle(self) -> Batch:
        """The same batch, counting for nothing."""
        return Batch(self.inputs, self.labels, dict.fromkeys(self.counts, 0), self.ids[:0], live=False)

    def __len__(self) -> int:
        return len(self.ids)
