"""A kill in the middle of an epoch, as it looks from inside."""

from __future__ import annotations

import pytest

from uer.training import loop


class Killed(BaseException):
    """No handler for errors meets it."""


def kill_after(step: int, patch: pytest.MonkeyPatch, of_run: int = 1) -> None:
    """The first update behind a step ends the run; `of_run`: which one of those that start from now on."""
    inner, seen = loop._Loop.update, []

    def update(self: loop._Loop, window) -> None:
        if all(self is not other for other in seen):
            seen.append(self)
        if len(seen) == of_run and window.span.last > step:
            raise Killed
        inner(self, window)

    patch.setattr(loop._Loop, "update", update)
