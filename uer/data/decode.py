"""Bytes of a text file → lines, with a defined answer to everything that may be wrong with them.

- Lines end at `\\n` or `\\r\\n` and nowhere else; a last line without an end counts.
- A byte-order mark at the start of a file is dropped, and so are NUL characters.
- Bytes that are not UTF-8 (encoded surrogates too) stop the run with file, line and offset, or become U+FFFD,
  or cost their line, as `--encoding_errors` says; how often, and where first, is counted.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uer.data.readers import BOM, encoding_error


class Lines(NamedTuple):
    """Lines of one span of a file.

    Attributes:
        texts: the lines without their ends.
        numbers: int64, the number of each line, 1 being the first of the span.
        counts: `nul_characters`, `replaced_bytes`, `skipped_lines`, as far as they occurred.
        first_fault: offset in the file of the first byte that is not UTF-8, or None.
    """

    texts: list[str]
    numbers: np.ndarray
    counts: Counter
    first_fault: int | None = None


def decode_lines(data: bytes, *, errors: str, path: str | Path, offset: int = 0) -> Lines:
    """The lines of a span.

    Args:
        data: the span; it begins at the start of a line.
        errors: "strict", "replace" or "skip".
        path, offset: the file, and where in it the span lies.

    Raises:
        DataError: strict, and a byte is not UTF-8; its line is counted from the beginning of the span.
    """
    counts: Counter = Counter()
    head = data[:4]
    if offset == 0 and data.startswith(BOM):
        data, offset = data[len(BOM) :], len(BOM)
    try:
        text, fault = data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        fault = offset + error.start
        if errors == "strict":
            line = data.count(b"\n", 0, error.start) + 1
            raise encoding_error(path, line, offset, error, head if offset <= len(BOM) else b"") from error
        if errors == "skip":
            return _skip(data, fault)
        text = data.decode("utf-8", "replace")
        counts["replaced_bytes"] = text.count("\ufffd") - data.count("\ufffd".encode())
    return _split(text, counts, fault)


def _split(text: str, counts: Counter, fault: int | None) -> Lines:
    text = _clean(text, counts)
    texts = text.split("\n")
    if texts[-1] == "":
        texts.pop()
    return Lines(texts, np.arange(1, len(texts) + 1), counts, fault)


def _clean(text: str, counts: Counter) -> str:
    if "\0" in text:
        counts["nul_characters"] += text.count("\0")
        text = text.replace("\0", "")
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    return text


def _skip(data: bytes, fault: int) -> Lines:
    """Line by line, without those that are not UTF-8."""
    counts: Counter = Counter()
    texts, numbers = [], []
    raw_lines = data.split(b"\n")
    if raw_lines[-1] == b"":
        raw_lines.pop()
    for number, raw in enumerate(raw_lines, 1):
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            counts["skipped_lines"] += 1
            continue
        texts.append(_clean(text, counts).removesuffix("\r"))
        numbers.append(number)
    return Lines(texts, np.array(numbers, np.int64), counts, fault)
