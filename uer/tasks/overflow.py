"""Rows that are longer than they may be: counted, said, left out, refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from uer.errors import DataError
from uer.tasks.table import Table
from uer.utils.logging import logger

CUT = "they were cut on the right"
"""what is said of rows that are too long, unless something else was done to them"""
Rows = TypeVar("Rows")
"""`uer.tasks.rows.Examples`, or what is like them"""


def scored(how: str) -> str:
    """What `--overflow` means for rows that are scored or predicted: none of them may be missing."""
    return how if how == "window" else "truncate"


def remembered(how: str) -> dict[str, str]:
    """What the companion folder keeps of `--overflow`: whether rows are read in windows."""
    return {"overflow": how} if how == "window" else {}


class LongRows:
    """Counts rows that are too long.

    Attributes:
        rows: rows that were counted. long: those that are too long. windows: in which these are read. cut:
            windows that were too long even so.
    """

    def __init__(self) -> None:
        self.rows = self.long = self.windows = self.cut = 0

    def add(self, examples: Any) -> None:
        """Count the rows of encoded examples."""
        self.rows += examples.rows_num
        if examples.of is None:
            self.long += int(examples.long.sum())
            return
        counts = np.bincount(examples.of)
        self.long += int((counts > 1).sum())
        self.windows += int(counts[counts > 1].sum())
        self.cut += int(examples.long.sum())

    def facts(self, seq_length: int, what: str = "rows") -> str:
        """How many there are, for a message."""
        return f"{self.long} of {self.rows} {what} are longer than --seq_length {seq_length} tokens"

    def warn(self, source: str | Path, seq_length: int, what: str = "rows", *, done: str = CUT) -> None:
        """Say it, where there are some; `done`: what was done to them, unless they are read in windows."""
        if not self.long:
            return
        if self.windows:
            done = f"they are read in {self.windows} windows"
            done += f", {self.cut} of which were cut" if self.cut else ""
        logger.warning(f"{source}: {self.facts(seq_length, what)}; {done}.")


def settle_overflow(
    examples: Rows,
    path: str | Path,
    fault: Callable[[int, str], DataError],
    *,
    seq_length: int,
    how: str,
    what: str = "rows",
    cut: str = CUT,
) -> Rows:
    """Rows that are too long stay as they were read ("truncate", "window"), are left out ("drop") or are an
    "error"; a line says so.

    Args:
        path: the file. fault: number of a row and a message → the error that names its place.
        what: what the rows are called. cut: what is said of those that stay.

    Raises:
        DataError: with "error"; or no row is left.
    """
    found = LongRows()
    found.add(examples)
    if found.long and how == "error":
        facts = found.facts(seq_length, what)
        raise fault(
            int(examples.long.argmax()), f"is too long ({facts}); raise it, or choose another --overflow."
        )
    drop = how == "drop"
    found.warn(path, seq_length, what, done="they were left out" if drop else cut)
    if not (found.long and drop):
        return examples
    if found.long == len(examples):
        raise DataError(
            f"every {what.removesuffix('s')} is too long, so none is left; raise --seq_length.", path=path
        )
    return examples.take(np.flatnonzero(~examples.long))


def settle_rows(examples: Rows, table: Table, overflow: str, training: bool, *, seq_length: int) -> Rows:
    """`settle_overflow` for the rows of a table, of which none is left out or refused that is scored.

    Args:
        overflow: what happens to rows of training.
    """

    def fault(number: int, message: str) -> DataError:
        """An error that names the line of a row."""
        return DataError(f"the row {message}", path=table.path, line=table.lines[number])

    how = overflow if training else scored(overflow)
    return settle_overflow(examples, table.path, fault, seq_length=seq_length, how=how)
