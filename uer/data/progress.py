"""Progress of a long run over bytes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from uer.utils.logging import logger

EVERY = 10.0  # seconds between lines where there is no terminal


class ByteProgress:
    """Bytes done of a total, with rate, time left and memory.

    Args:
        total: bytes in all.
        done: bytes done before this run; they count for the bar, not for the rate.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total, self._done, self._before = total, done, done
        self._started = self._said = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, leave=False)

    def advance(self, count: int, memory: int) -> None:
        """`count` more bytes are done; `memory` is the most that a worker has held."""
        self._done += count
        if self._bar is not None:
            self._bar.set_postfix_str(f"{memory / 1e6:,.0f} MB a worker", refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            logger.info(self._line(memory))

    def _line(self, memory: int) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (self._done - self._before) / seconds
        left = (self._total - self._done) / rate if rate else 0.0
        return (
            f"{self._done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB ({self._done / self._total:.0%}), "
            f"{rate / 1e6:.1f} MB/s, {left:,.0f} s left, {memory / 1e6:,.0f} MB a worker"
        )

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
