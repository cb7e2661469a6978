"""Predictions as a table or as JSON: a whole file or none, or line after line to standard output."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, TextIO

from uer.config.inference import PIPE
from uer.errors import DataError
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
def text_writer(path: str) -> Iterator[IO[str]]:
    """The file `path`, which appears when all is written, or standard output."""
    if path == PIPE:
        yield sys.stdout
        sys.stdout.flush()
    else:
        with atomic_write(path) as file:
            yield file


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


class LineWriter:
    """Writes JSON objects, a line each."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.written = 0

    def write(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Some objects."""
        for value in objects:
            self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
            self.written += 1
        self._file.flush()


@contextlib.contextmanager
def line_writer(path: str) -> Iterator[LineWriter]:
    """A writer to the file `path`, which appears when all is written, or to standard output; see
    `table_writer`.
    """
    if path == PIPE:
        writer = LineWriter(sys.stdout)
        yield writer
    else:
        with atomic_write(path) as file:
            writer = LineWriter(file)
            yield writer
    say_predictions(writer.written, path)


@contextlib.contextmanager
def object_writer(path: str, indent: int, *, streams: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Takes objects of answers, one for each document: all make one object, written at the end.

    Args:
        streams: the documents come through a pipe; then to standard output each goes at once, in one line.
    """
    every: dict[str, Any] = {}
    count = 0

    def write(answers: dict[str, Any]) -> None:
        """Take the answers of one document."""
        nonlocal count
        count += len(answers)
        if twice := every.keys() & answers.keys():
            raise DataError(f"the id {min(map(str, twice))!r} stands in two documents; number them apart.")
        if streams and path == PIPE:
            sys.stdout.write(json.dumps(answers, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        else:
            every.update(answers)

    yield write
    if streams and path == PIPE:
        say_predictions(count, path)
    else:
        write_document(path, json.dumps(every, ensure_ascii=False, indent=indent) + "\n", count)


def say_predictions(count: int, path: str) -> None:
    """UER's line about the number of predictions."""
    print(f"The number of prediction instances:  {count}", file=messages(path))


def messages(path: str) -> TextIO:
    """Where lines for the user go while predictions go to `path`."""
    return sys.stderr if path == PIPE else sys.stdout
