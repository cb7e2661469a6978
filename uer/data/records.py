"""Lines → records: what one line means to an objective, in plain text and in files with named fields."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np

from uer.data.decode import Lines
from uer.data.knowledge import TextSpan, parse_spans
from uer.errors import DataError, suggestion
from uer.utils.jsons import parse_json

Row = dict[str, Any]


@dataclass
class Records:
    """Texts of one span of a corpus, before they are encoded.

    Attributes:
        texts: documents, sentences, or first columns.
        lines: int64, the line number of each text within the span.
        documents: int64 [D + 1], where each document begins among the texts.
        seconds: second columns, None where a row has none.
        labels: the labels.
        spans: phrases and entities of each text, when they are asked for.
        counts: lines, blank ones, skipped ones, ….
        first_skipped: number of the first line that was skipped.
    """

    texts: list[str]
    lines: np.ndarray
    documents: np.ndarray | None = None
    seconds: list[str | None] | None = None
    labels: list[int] | None = None
    spans: list[list[TextSpan]] | None = None
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


def of_columns(lines: Lines, kind: str) -> Records:
    """`label<TAB>text[<TAB>second text]` ("labelled") or `source<TAB>target` ("pairs"), no header; lines of
    another shape are skipped and counted.

    Raises:
        DataError: a label is not an integer of 0 or more.
    """
    rows = _Rows(lines.counts, kind)
    rows.counts["lines"] += len(lines.texts)
    shapes = (2, 3) if kind == "labelled" else (2,)
    for number, text in zip(lines.numbers.tolist(), lines.texts):
        fields = text.split("\t")
        if len(fields) in shapes:
            rows.add(number, fields)
        elif not text.strip():
            rows.counts["blank_lines"] += 1
        else:
            rows.counts["malformed_lines"] += 1
            rows.first_skipped = rows.first_skipped or number
    return rows.records()


class _Rows:
    """Records of two or three columns, one after another."""

    def __init__(self, counts: Counter, kind: str) -> None:
        self.counts, self.labelled = Counter(counts), kind == "labelled"
        self.numbers: list[int] = []
        self.texts: list[str] = []
        self.seconds: list[str | None] = []
        self.labels: list[int] = []
        self.first_skipped: int | None = None

    def add(self, number: int, fields: list[Any]) -> None:
        """A row: (label, text, perhaps a second text), or (source, target)."""
        if self.labelled:
            label = str(fields[0]).strip()
            if not label.isdecimal():
                raise DataError(
                    f"the label is '{label[:40]}'; it must be an integer of 0 or more.", line=number
                )
            self.labels.append(int(label))
            fields = fields[1:]
        self.numbers.append(number)
        self.texts.append(fields[0])
        self.seconds.append(fields[1] if len(fields) > 1 else None)

    def records(self) -> Records:
        """All of them."""
        return Records(
            self.texts,
            np.array(self.numbers, np.int64),
            seconds=self.seconds,
            labels=self.labels if self.labelled else None,
            counts=self.counts,
            first_skipped=self.first_skipped,
        )


def of_plain(lines: Lines, kind: str) -> Records:
    """Records of plain text; `kind` as `Objective.corpus`."""
    if kind == "lines":
        return of_lines(lines)
    return of_documents(lines) if kind == "documents" else of_columns(lines, kind)


def of_fields(
    lines: Lines,
    kind: str,
    columns: tuple[str, ...] | None,
    *,
    errors: str,
    skip_first: bool,
    spans: bool = False,
) -> Records:
    """Records of JSON lines (`columns` None) or of a table with a header.

    A document may hold line feeds, which part its sentences.

    Args:
        kind: as `Objective.corpus`.
        errors: what to do with unpaired surrogates in JSON strings; as `--encoding_errors`.
        skip_first: the first line is the header.
        spans: read the field `spans` too, where there is one.

    Raises:
        DataError: not JSON, a field is missing or not text, spans of another form, a row has too few columns;
            with the line.
    """
    counts = Counter(lines.counts)
    rows = (
        _json_rows(lines, counts, errors)
        if columns is None
        else _table_rows(lines, counts, columns, skip_first)
    )
    if kind in ("labelled", "pairs"):
        out = _Rows(Counter(), kind)
        for number, row in rows:
            out.add(number, _fields(row, kind, number))
        records = out.records()
        records.counts = counts
        return records
    texts: list[str] = []
    numbers: list[int] = []
    begins: list[int] = []
    found: list[list[TextSpan]] = []
    for number, row in rows:
        text = " ".join(_fields(row, kind, number))
        if not text.strip():
            counts["blank_lines"] += 1
            continue
        own = _spans(row.get("spans"), text, number) if spans else []
        begins.append(len(texts))
        for start, piece in _pieces(text) if kind == "documents" else [(0, text)]:
            texts.append(piece)
            numbers.append(number)
            found.append(_within(own, start, start + len(piece)))
    named = found if any(found) else None
    if kind == "lines":
        return Records(texts, np.array(numbers, np.int64), spans=named, counts=counts)
    counts["documents"] = len(begins)
    documents = np.array([*begins, len(texts)], np.int64)
    return Records(texts, np.array(numbers, np.int64), documents, spans=named, counts=counts)


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a document that are not blank, and where each begins."""
    start = 0
    for piece in text.split("\n"):
        if piece.strip():
            yield start, piece
        start += len(piece) + 1


def _spans(value: Any, text: str, number: int) -> list[TextSpan]:
    if value is None:
        return []
    try:
        return parse_spans(value, text)
    except DataError as error:
        raise DataError(error.message, line=number) from error


def _within(spans: list[TextSpan], start: int, end: int) -> list[TextSpan]:
    """The spans that lie in a piece of a text, counted from its beginning."""
    return [
        TextSpan(span.start - start, span.end - start, span.level)
        for span in spans
        if start <= span.start and span.end <= end
    ]


def _fields(row: Row, kind: str, number: int) -> list[Any]:
    """What an objective needs of a row, in the order of the plain form."""
    text = "text" if "text" in row else "text_a"
    wanted = {"labelled": ["label", text], "pairs": ["source", "target"]}.get(kind, [text])
    if kind == "pairs" and "source" not in row and "text_a" in row:
        wanted = ["text_a", "text_b"]
    elif text == "text_a" and "text_b" in row and kind != "pairs":
        wanted.append("text_b")
    for name in wanted:
        if name not in row:
            name = "text" if name == "text_a" and kind != "pairs" else name
            raise DataError(
                f"the field '{name}' is missing; there is {', '.join(map(repr, row)) or 'none'}."
                + suggestion(name, row),
                line=number,
            )
        if not isinstance(row[name], str) and name != "label":
            raise DataError(f"the field '{name}' is {type(row[name]).__name__}, not text.", line=number)
    return [row[name] for name in wanted]


def _json_rows(lines: Lines, counts: Counter, errors: str) -> Iterator[tuple[int, Row]]:
    counts["lines"] += len(lines.texts)
    for number, text in zip(lines.numbers.tolist(), lines.texts):
        if not text.strip():
            counts["blank_lines"] += 1
            continue
        try:
            row = parse_json(text)
        except json.JSONDecodeError as error:
            raise DataError(
                f"this is not JSON ({error.msg} at column {error.colno}).", line=number
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"this is a JSON {type(row).__name__}; a record is an object.", line=number)
        if "\\u" in text and not _sound(row, number, counts, errors):
            counts["skipped_lines"] += 1
            continue
        yield number, row


def _sound(row: Row, number: int, counts: Counter, errors: str) -> bool:
    """Mend strings that escapes filled with NUL or unpaired surrogates; False when the row is to be
    skipped."""
    for name, value in row.items():
        if not isinstance(value, str):
            continue
        if "\0" in value:
            counts["nul_characters"] += value.count("\0")
            row[name] = value = value.replace("\0", "")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            if errors == "strict":
                raise DataError(
                    f"the field '{name}' holds the unpaired surrogate U+{ord(value[error.start]):04X}; mend "
                    "the file, or choose --encoding_errors replace or skip.",
                    line=number,
                ) from error
            if errors == "skip":
                return False
            row[name] = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            counts["replaced_bytes"] += row[name].count("\ufffd") - value.count("\ufffd")
    return True


def _table_rows(
    lines: Lines, counts: Counter, columns: tuple[str, ...], skip_first: bool
) -> Iterator[tuple[int, Row]]:
    counts["lines"] += len(lines.texts) - skip_first
    for number, text in zip(lines.numbers[skip_first:].tolist(), lines.texts[skip_first:]):
        fields = text.split("\t")
        if not text.strip():
            counts["blank_lines"] += 1
            continue
        if len(fields) < len(columns):
            raise DataError(
                f"the row has {len(fields)} of {len(columns)} columns; separate them by one TAB each.",
                line=number,
            )
        yield number, dict(zip(columns, fields))
