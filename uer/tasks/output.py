"""Predictions written as a table: a whole file or none, or line after line to standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TextIO

from uer.config.inference import PIPE
from uer.utils.files import atomic_write


class TableWriter:
    """Writes columns chunk by chunk; the header comes before the first.

    Args:
        file: where to.
        keep: columns of the input that are copied behind the predictions. One that has the name of a
            prediction is written as `input_NAME`.
    """

    def __init__(self, file: IO[str], keep: Sequence[str] = ()) -> None:
        self._file, self._keep = file, tuple(keep)
        self._begun = False
        self.written = 0

    def write(self, columns: Mapping[str, Sequence[str]], rows: Sequence[Mapping[str, str]]) -> None:
        """One chunk: predicted columns, and the rows they belong to."""
        if not self._begun:
            kept = [f"input_{name}" if name in columns else name for name in self._keep]
            self._file.write("\t".join([*columns, *kept]) + "\n")
            self._begun = True
        for values, row in zip(zip(*columns.values()), rows):
            self._file.write("\t".join([*values, *(row[name] for name in self._keep)]) + "\n")
        self._file.flush()
        self.written += len(rows)


@contextlib.contextmanager
def table_writer(path: str, keep: Sequence[str] = ()) -> Iterator[TableWriter]:
    """A writer to the file `path`, which appears when all is written, or to standard output.

    When done, UER's line about the number of predictions goes to standard output, or to standard error
    where the predictions themselves go to standard output.
    """
    if path == PIPE:
        writer = TableWriter(sys.stdout, keep)
        yield writer
    else:
        with atomic_write(path) as file:
            writer = TableWriter(file, keep)
            yield writer
    say_predictions(writer.written, path)


def write_document(path: str, text: str, count: int) -> None:
    """Predictions that are one text, to a file or standard output, and UER's line about their number."""
    if path == PIPE:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        with atomic_write(path) as file:
            file.write(text)
    say_predictions(count, path)


def say_predictions(count: int, path: str) -> None:
    """UER's line about the number of predictions."""
    print(f"The number of prediction instances:  {count}", file=messages(path))


def messages(path: str) -> TextIO:
    """Where lines for the user go while predictions go to `path`."""
    return sys.stderr if path == PIPE else sys.stdout
