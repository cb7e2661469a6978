"""What is saved, copied at once, and the thread that writes it while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple

import torch

from uer.layers import kernels
from uer.training.ema import WeightAverage
from uer.training.engines.base import Engine, Tensors
from uer.training.stop import listen


class Snapshot(NamedTuple):
    """Copies in main memory of what a checkpoint holds, so that it can be written while training goes on."""

    weights: Tensors
    optimizer: Tensors
    average: Tensors | None

    @classmethod
    def take(cls, engine: Engine, average: WeightAverage | None = None) -> Snapshot:
        """Of this moment; every worker must call it, the first one gets the tensors."""
        weights, mean = engine.weights(), None
        if average is not None:
            with average.applied():
                mean = engine.weights()
        return cls(weights, engine.optimizer_state(), mean)

    @property
    def size(self) -> int:
        """Bytes of it on disk."""
        return sum(x.numel() * x.element_size() for part in self if part for x in part.values())


def chosen_here() -> dict[str, Any]:
    """What sums depend on and a resumed run keeps: threads and kernels."""
    return {"threads": torch.get_num_threads(), "kernels": kernels.chosen()}


class Writer:
    """Writes one thing at a time; what failed is raised at the next call, or at the end of the block."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._last: Future[Any] | None = None

    def submit(self, write: Callable[[], Any]) -> None:
        """Have something written, after what is being written now is done."""
        self.wait()
        self._last = self._pool.submit(write)

    def wait(self) -> None:
        """Until all is written; raises what the writing raised."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with listen("the checkpoint is written") as stop:
            self._pool.shutdown(wait=True)
        if error is None or isinstance(error, KeyboardInterrupt):
            self.wait()
        if error is None and stop.made:
            raise KeyboardInterrupt
