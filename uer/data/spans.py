"""A corpus as spans: pieces of a few MB that end where a line (a document) ends, workable in any order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from uer.data.readers import open_binary
from uer.data.sources import Source
from uer.errors import DataError

SPAN = 4 << 20  # bytes of a span, at least; its size must not depend on the number of processes
LONGEST = 8 << 20  # a line or document up to this long is never cut
_NEAR = 1 << 16
_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")


@dataclass(frozen=True)
class Span:
    """A piece of a file.

    Attributes:
        index: its number in the corpus; random numbers and the order of instances depend on it.
        source: number of its file.
        start, end: its bytes, in the file or in the decompressed stream.
        cost: bytes on disk that it stands for.
        cut: whether a line or document goes on behind its end.
        data: the bytes, when the file is a stream.
        lines: lines ahead of it, when the file is a stream.
    """

    index: int
    source: int
    start: int
    end: int
    cost: int
    cut: bool = False
    data: bytes | None = field(default=None, repr=False)
    lines: int = 0


def spans(sources: list[Source], documents: bool) -> Iterator[Span]:
    """All spans of a corpus, in order.

    Args:
        documents: spans of plain text end at blank lines, not at any line.
    """
    index = 0
    for number, source in enumerate(sources):
        parted = documents and source.plain
        make = _slices if source.sliced else _blocks
        for span in make(source, number, index, parted):
            yield span
            index = span.index + 1


def _slices(source: Source, number: int, index: int, documents: bool) -> Iterator[Span]:
    """Spans of a file that can be read from any place on."""
    with open_binary(source.path) as file:
        start = 0
        while start < source.size:
            end, cut = _border(file, start + SPAN, source.size, documents)
            yield Span(index, number, start, end, end - start, cut)
            index, start = index + 1, end


def _border(file: BinaryIO, at: int, size: int, documents: bool) -> tuple[int, bool]:
    """The first place from `at` on where a line (document) begins, and whether one had to be cut instead."""
    if at >= size:
        return size, False
    for reach in (min(_NEAR, LONGEST), LONGEST):
        file.seek(at - 1)
        window = file.read(reach)
        if found := _search(window, documents):
            return at - 1 + found, False
        if at - 1 + len(window) >= size:
            return size, False
    return at - 1 + _forced(window, documents), True


def _search(window: bytes, documents: bool) -> int:
    """Where in the window, whose first byte is the last one that must be taken, a line or document ends; or
    0."""
    if documents:
        match = _BLANK_LINE.search(window)
        return match.end() if match else 0
    return window.find(b"\n") + 1


def _forced(window: bytes, documents: bool) -> int:
    """Where to cut what is too long: a document at a line end, a line at a blank or between two
    characters."""
    if documents and (found := window.find(b"\n") + 1):
        return found
    found = window.find(b" ", 1, _NEAR) + 1 or 1
    while found < len(window) and window[found] & 0xC0 == 0x80:  # inside a UTF-8 character
        found += 1
    return found


def _blocks(source: Source, number: int, index: int, documents: bool) -> Iterator[Span]:
    """Spans of a stream, which carry their bytes."""
    with source.open() as (stream, raw):
        data, start, lines, spent = b"", 0, 0, 0
        while data := data + _read(stream, SPAN - 1 + LONGEST - len(data)):
            end, cut = _first_border(data, documents)
            last = end == len(data)
            read = source.size if last else max(spent, min(raw.tell(), source.size))
            yield Span(index, number, start, start + end, read - spent, cut, data[:end], lines)
            lines += data.count(b"\n", 0, end)
            index, start, spent, data = index + 1, start + end, read, data[end:]


def _read(stream: BinaryIO, count: int) -> bytes:
    """`count` bytes, or all that is left."""
    parts = []
    while count > 0 and (part := stream.read(min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _first_border(data: bytes, documents: bool) -> tuple[int, bool]:
    """Where the first span of a stream's next bytes ends, and whether something had to be cut there."""
    if len(data) <= SPAN:
        return len(data), False
    window = data[SPAN - 1 :]
    if found := _search(window, documents):
        return SPAN - 1 + found, False
    if len(window) < LONGEST:  # the stream ends here
        return len(data), False
    return SPAN - 1 + _forced(window, documents), True


def read_span(source: Source, span: Span) -> bytes:
    """The bytes of a span.

    Raises:
        DataError: the file became shorter since the run began.
    """
    if span.data is not None:
        return span.data
    with open_binary(source.path) as file:
        file.seek(span.start)
        data = file.read(span.end - span.start)
    if len(data) != span.end - span.start:
        raise DataError("the file changed while it was read; run preprocess.py again.", path=source.path)
    return data


def lines_before(source: Source, span: Span) -> int:
    """The number of lines of its file that end before a span."""
    if span.data is not None:
        return span.lines
    count, left = 0, span.start
    with open_binary(source.path) as file:
        while left > 0 and (data := file.read(min(1 << 20, left))):
            count += data.count(b"\n")
            left -= len(data)
    return count
