"""The rows of a table file: all at once with their places, or in chunks as they come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from uer.config.inference import PIPE
from uer.data.readers import read_tsv
from uer.errors import DataError

T = TypeVar("T")
CHUNK = 16384  # rows held at once when a file is predicted


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


def chunks(rows: Iterator[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Rows in lists of `size`, fewer in the last."""
    chunk: list[T] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def chunks_at_once(rows: Iterator[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Rows in lists of what is there, `size` at most: whoever sends one row and waits gets its answer.

    An error of `rows` is raised behind the rows that came before it.
    """
    arrived: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=size)

    def read() -> None:
        """Put all rows in the queue, then how they ended."""
        end: BaseException = StopIteration()
        try:
            for row in rows:
                arrived.put((row, None))
        except BaseException as error:
            end = error
        arrived.put((None, end))

    threading.Thread(target=read, daemon=True, name="rows").start()
    chunk: list[T] = []
    while True:
        if chunk and (arrived.empty() or len(chunk) == size):
            yield chunk
            chunk = []
        row, end = arrived.get()
        if end is None:
            chunk.append(row)
            continue
        if chunk:
            yield chunk
        if isinstance(end, StopIteration):
            return
        raise end


def arriving(path: str, rows: Iterator[T], size: int = CHUNK) -> Iterator[list[T]]:
    """What is read from `path`, in chunks; from standard input at once as it comes."""
    return chunks_at_once(rows, size) if path == PIPE else chunks(rows, size)


def read_chunks(
    path: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[list[dict[str, str]]]:
    """The rows of a table file, or of standard input, in chunks.

    Raises:
        DataError: see `uer.data.readers.read_tsv`; or there is no row under the header.
    """
    rows = (row for _, row in read_tsv(path, required, optional))
    empty = True
    for chunk in arriving(path, rows):
        empty = False
        yield chunk
    if empty:
        raise DataError("there is no row under the header.", path=path)
