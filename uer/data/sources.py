"""A corpus as spans: pieces of a few MB that end where a line (a document) ends, workable in any order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from uer.data.readers import open_binary
from uer.errors import DataError

SPAN = 4 << 20  # bytes of a span, at least; its size must not depend on the number of processes
LONGEST = 8 << 20  # a line or document up to this long is never cut
_NEAR = 1 << 16
_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")


@dataclass(frozen=True)
class Source:
    """One file of a corpus.

    Attributes:
        path: the file.
        size: its bytes on disk.
    """

    path: Path
    size: int

    @classmethod
    def of(cls, path: str | Path) -> Source:
        """The file, checked.

        Raises:
            DataError: missing, unreadable, a folder, or empty.
        """
        with open_binary(path) as file:
            size = file.seek(0, 2)
        if size == 0:
            raise DataError("the corpus is empty; give a text file with --corpus_path.", path=path)
        return cls(Path(path), size)


@dataclass(frozen=True)
class Span:
    """A piece of a file.

    Attributes:
        index: its number in the corpus; random numbers and the order of instances depend on it.
        source: number of its file.
        start, end: its bytes.
        cut: whether a line or document goes on behind its end.
    """

    index: int
    source: int
    start: int
    end: int
    cut: bool = False


def spans(sources: list[Source], documents: bool) -> Iterator[Span]:
    """All spans of a corpus, in order.

    Args:
        documents: spans end at blank lines, not at any line.
    """
    index = 0
    for number, source in enumerate(sources):
        with open_binary(source.path) as file:
            start = 0
            while start < source.size:
                end, cut = _border(file, start + SPAN, source.size, documents)
                yield Span(index, number, start, end, cut)
                index, start = index + 1, end


def _border(file: BinaryIO, at: int, size: int, documents: bool) -> tuple[int, bool]:
    """The first place from `at` on where a line (document) begins, and whether one had to be cut instead."""
    if at >= size:
        return size, False
    window = b""
    for reach in (min(_NEAR, LONGEST), LONGEST):
        file.seek(at - 1)
        window = file.read(reach)
        if documents:
            match = _BLANK_LINE.search(window)
            found = match.end() if match else 0
        else:
            found = window.find(b"\n") + 1
        if found:
            return at - 1 + found, False
        if at - 1 + len(window) >= size:
            return size, False
    if documents and (found := window.find(b"\n") + 1):
        return at - 1 + found, True
    found = window.find(b" ", 1, _NEAR) + 1 or 1
    while found < len(window) and window[found] & 0xC0 == 0x80:  # inside a UTF-8 character
        found += 1
    return at - 1 + found, True


def read_span(source: Source, span: Span) -> bytes:
    """The bytes of a span.

    Raises:
        DataError: the file became shorter since the run began.
    """
    with open_binary(source.path) as file:
        file.seek(span.start)
        data = file.read(span.end - span.start)
    if len(data) != span.end - span.start:
        raise DataError("the file changed while it was read; run preprocess.py again.", path=source.path)
    return data


def lines_before(source: Source, offset: int) -> int:
    """The number of lines that end before a place in a file."""
    count = 0
    with open_binary(source.path) as file:
        while offset > 0 and (data := file.read(min(1 << 20, offset))):
            count += data.count(b"\n")
            offset -= len(data)
    return count
