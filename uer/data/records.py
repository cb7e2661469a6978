"""Lines → records: what one line means to an objective."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import compress

import numpy as np

from uer.data.decode import Lines
from uer.errors import DataError


@dataclass
class Records:
    """Texts of one span of a corpus, before they are encoded.

    Attributes:
        texts: documents, sentences, or first columns.
        lines: int64, the line number of each text within the span.
        documents: int64 [D + 1], where each document begins among the texts.
        seconds: second columns, None where a row has none.
        labels: the labels.
        counts: lines, blank ones, skipped ones, ….
        first_skipped: number of the first line that was skipped.
    """

    texts: list[str]
    lines: np.ndarray
    documents: np.ndarray | None = None
    seconds: list[str | None] | None = None
    labels: list[int] | None = None
    counts: Counter = field(default_factory=Counter)
    first_skipped: int | None = None


def of_lines(lines: Lines) -> Records:
    """One document a line; blank lines are none."""
    full = _full(lines.texts)
    counts = Counter(lines.counts, lines=len(full), blank_lines=int((~full).sum()))
    return Records(list(compress(lines.texts, full)), lines.numbers[full], counts=counts)


def _full(texts: list[str]) -> np.ndarray:
    """bool [n]: which lines are not blank."""
    full = np.fromiter(map(bool, texts), bool, len(texts))
    return full & ~np.fromiter(map(str.isspace, texts), bool, len(texts))


def of_documents(lines: Lines) -> Records:
    """One sentence a line; blank lines part documents, however many; the last document needs none behind
    it."""
    texts = lines.texts
    full = _full(texts)
    begins = full.copy()
    begins[1:] &= ~full[:-1]
    rank = np.cumsum(full) - full  # sentences ahead of each line
    documents = np.append(rank[begins], int(full.sum()))
    counts = Counter(lines.counts, lines=len(texts), documents=len(documents) - 1)
    counts["blank_lines"] = len(texts) - int(full.sum())
    return Records(list(compress(texts, full)), lines.numbers[full], documents, counts=counts)


def of_labelled(lines: Lines) -> Records:
    """`label<TAB>text` or `label<TAB>text<TAB>second text`, no header; lines of another shape are skipped and
    counted.

    Raises:
        DataError: a label is not an integer of 0 or more.
    """
    records = Records([], lines.numbers, seconds=[], labels=[], counts=Counter(lines.counts))
    numbers = []
    for number, text in zip(lines.numbers.tolist(), lines.texts):
        fields = text.split("\t")
        if len(fields) not in (2, 3):
            _skip(records, number, text)
            continue
        if not fields[0].strip().isdecimal():
            raise DataError(
                f"the label is '{fields[0][:40]}'; it must be an integer of 0 or more, "
                "then a TAB and the text.",
                line=number,
            )
        records.labels.append(int(fields[0]))
        records.texts.append(fields[1])
        records.seconds.append(fields[2] if len(fields) == 3 else None)
        numbers.append(number)
    records.lines = np.array(numbers, np.int64)
    records.counts["lines"] += len(lines.texts)
    return records


def of_pairs(lines: Lines) -> Records:
    """`source<TAB>target`, no header; lines of another shape are skipped and counted."""
    records = Records([], lines.numbers, seconds=[], counts=Counter(lines.counts))
    numbers = []
    for number, text in zip(lines.numbers.tolist(), lines.texts):
        fields = text.split("\t")
        if len(fields) != 2:
            _skip(records, number, text)
            continue
        records.texts.append(fields[0])
        records.seconds.append(fields[1])
        numbers.append(number)
    records.lines = np.array(numbers, np.int64)
    records.counts["lines"] += len(lines.texts)
    return records


def _skip(records: Records, number: int, text: str) -> None:
    """Count a line that is left out; a blank one is not worth a word."""
    if not text.strip():
        records.counts["blank_lines"] += 1
        return
    records.counts["malformed_lines"] += 1
    records.first_skipped = records.first_skipped or number


KINDS = {"lines": of_lines, "documents": of_documents, "labelled": of_labelled, "pairs": of_pairs}
