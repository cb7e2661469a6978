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

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def made(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal is not None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.signal = number
        logger.info("%s: stopping after this batch; once more stops at once.", signal.Signals(number).name)


@contextlib.contextmanager
def listen() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the block runs; the second one is a `KeyboardInterrupt`.

    Signals reach the main thread only; elsewhere nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
