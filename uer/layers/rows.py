"""Rows of a batch that several workers share, for losses that compare rows with one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

Gather = Callable[[Tensor], tuple[Tensor, int]]
_gather: ContextVar[Gather | None] = ContextVar("gather", default=None)


@contextmanager
def gathered_by(gather: Gather) -> Iterator[None]:
    """In the block, `rows_of_all` asks `gather`, on every worker."""
    token = _gather.set(gather)
    try:
        yield
    finally:
        _gather.reset(token)


def rows_of_all(rows: Tensor) -> tuple[Tensor, int]:
    """The rows [B, …] of every worker, one worker after the other, and the place of our first one among them.

    A gradient of the result goes to the worker whose row it is. Outside of training the rows of a batch are
    never shared: there the result is `rows` and 0.
    """
    gather = _gather.get()
    return (rows, 0) if gather is None else gather(rows)
