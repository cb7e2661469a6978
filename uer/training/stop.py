"""Ctrl-C and SIGTERM ask a run to stop at a place from which it can go on."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from uer.utils.logging import logger


class StopRequest:
    """Whether the user (or the machine) asked the run to stop."""

    def __init__(self, last: str = "this batch") -> None:
        self.signal: int | None = None
        self.last = last

    @property
    def made(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal is not None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.signal = number
        name = signal.Signals(number).name
        logger.info("%s: stopping after %s; once more stops at once.", name, self.last)


@contextlib.contextmanager
def listen(last: str = "this batch") -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the block runs; the second one is a `KeyboardInterrupt`.

    Signals reach the main thread only; elsewhere nothing is changed. `last`: what is still done, in words.
    """
    request = StopRequest(last)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
