"""Errors that a user can mend.

Everything a user can get wrong ends in a subclass of `UerError`, whose message is one line that says what
was got, what was expected and how to mend it. `uer.cli.run` prints that line and exits with code 2; anything
else that reaches the top is a fault of ours and keeps its traceback. `assert` is for invariants only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class UerError(ValueError):
    """Base of all errors that the user can mend; the message is one complete line."""


class ConfigError(UerError):
    """A flag, a JSON key or a combination of them that cannot work."""


class CheckpointError(UerError):
    """A model file that is missing, damaged, of another shape, or not what its name says."""


class EnvironmentFault(UerError):
    """The machine cannot do what was asked: no such device, full disk, read-only folder, missing package."""


class MemoryFault(EnvironmentFault):
    """Memory ran out in the course of training."""


class DataError(UerError):
    """A fault in an input file.

    Args:
        message: what was got, what was expected, how to mend it.
        path: the file, printed in front of the message.
        line: the line number, counted from 1, printed behind the file.
    """

    def __init__(self, message: str, *, path: str | Path | None = None, line: int | None = None) -> None:
        self.message, self.path, self.line = message, path, line
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + message)

    def __reduce__(self) -> tuple:
        # Worker processes send errors back by pickle, which would call __init__ with the finished message.
        return _rebuild_data_error, (self.message, self.path, self.line)


def _rebuild_data_error(message: str, path: str | None, line: int | None) -> DataError:
    return DataError(message, path=path, line=line)


def suggestion(name: str, choices: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the choice nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(str(name), [str(choice) for choice in choices], n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def pick(name: str, table: dict[str, T], what: str) -> T:
    """The entry `name` of a table of named things.

    Raises:
        ConfigError: the table has no such name; the message lists the choices and suggests one.
    """
    if name in table:
        return table[name]
    raise ConfigError(f"{what} '{name}' is unknown; choose from {', '.join(table)}.{suggestion(name, table)}")
