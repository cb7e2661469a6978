"""The rows of a table file, with the places where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uer.data.readers import read_tsv
from uer.errors import DataError


@dataclass
class Table:
    """Rows read from `path`: column name → text, and the line number of each."""

    path: str
    rows: list[dict[str, str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[str]:
        """The texts of one column."""
        return [row[name] for row in self.rows]


def read_table(path: str | Path, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """A whole table file.

    Raises:
        DataError: see `uer.data.readers.read_tsv`; or there is no row under the header.
    """
    lines, rows = [], []
    for line, row in read_tsv(path, required, optional):
        lines.append(line)
        rows.append(row)
    if not rows:
        raise DataError("there is no row under the header.", path=path)
    return Table(str(path), rows, lines)
