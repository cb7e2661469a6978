"""What a corpus or task file is, and every line of it that is wrong, for `scripts/check_data.py`."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uer.data.histogram import histogram
from uer.data.readers import BOM, describe_bytes
from uer.data.sources import FIELDS, Source
from uer.data.spans import LONGEST
from uer.data.store import MAGIC
from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.utils.jsons import parse_json

# Column names of task files; a table whose first line holds one of them has a header.
COLUMNS = (*FIELDS, "logits", "qid")
MOST_LABELS = 50  # more than that are counted, not listed
LOOK_AT = 1000  # lines by which a format is recognised


@dataclass
class Report:
    """What was found.

    Attributes:
        format: in words, with what to do with such a file.
        lines: how many there are.
        bad: (line number, what is wrong with it).
        lengths: tokens (characters, without a tokenizer) of each good text.
        samples: (line number, text).
        labels: how often each label comes.
        blank: how many lines are blank.
    """

    format: str
    lines: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    samples: list[tuple[int, list[str]]] = field(default_factory=list)
    labels: Counter = field(default_factory=Counter)
    blank: int = 0


def check_file(path: str | Path, tokenizer: Tokenizer | None = None, samples: int = 3) -> Report:
    """Read a whole file, in any format that we read, and say what it is and what is wrong with it.

    Args:
        tokenizer: gives lengths in tokens.
        samples: rows to show.

    Raises:
        DataError: missing, empty, not text at all, or not readable.
    """
    source = Source.of(path)
    _refuse_binary(source)
    if (whole := _whole_json(source)) is not None:
        return whole
    rule = _recognise(source)
    report = Report(rule.describe())
    texts: list[str] = []

    def measure() -> None:
        """Count the tokens (without a tokenizer the characters) of the texts that wait."""
        if tokenizer is None:
            report.lengths.extend(map(len, texts))
        else:
            report.lengths.extend(np.diff(tokenizer.encode_batch(texts)[1]).tolist())
        texts.clear()

    for number, raw in _raw_lines(source):
        report.lines += 1
        text, fault = _decode(raw)
        if fault is None and not text.strip() and rule.blank_lines:
            report.blank += 1
            continue
        if number == 1 and rule.header and fault is None:
            continue
        fields, fault = ([], fault) if fault else rule.fields(text)
        if fault:
            report.bad.append((number, fault))
            continue
        if rule.label is not None:
            report.labels[fields[rule.label]] += 1
        if len(report.samples) < samples:
            report.samples.append((number, fields))
        texts.append(" ".join(value for place, value in enumerate(fields) if place != rule.label))
        if len(texts) == 4096:
            measure()
    measure()
    return report


def _refuse_binary(source: Source) -> None:
    with source.open() as (stream, _):
        head = stream.read(64)
    if head.startswith(MAGIC):
        raise DataError(
            "this is a dataset of preprocess.py; look at it with scripts/inspect_dataset.py.",
            path=source.path,
        )
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        raise DataError(
            "this is a pickle (an old dataset or model?), not text; it is not opened.", path=source.path
        )
    if head.startswith(b"PK\x03\x04") or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"this is not text in UTF-8: {describe_bytes(head)}.", path=source.path)


def _whole_json(source: Source) -> Report | None:
    """A report on a file that is one JSON document over several lines, or None if it is something else."""
    if source.format != "jsonl" or source.path.suffix != ".json":
        return None
    with source.open() as (stream, _):
        data, more = stream.readline(), stream.read(1)
        with contextlib.suppress(ValueError, RecursionError):
            if more and isinstance(json.loads(data), dict):
                return None  # JSON lines
        data += more + stream.read()
    report = Report("a JSON document (task file)", lines=data.count(b"\n") + (not data.endswith(b"\n")))
    try:
        value = parse_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        report.bad.append((line, f"byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8"))
        return report
    except json.JSONDecodeError as error:
        report.bad.append((error.lineno, f"is not JSON ({error.msg} at column {error.colno})"))
        return report
    items = list(value.items()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    kind = (
        "object with the keys " + ", ".join(value)
        if isinstance(value, dict) and len(value) < 10
        else (f"{'object' if isinstance(value, dict) else 'list'} of {len(items):,} entries")
    )
    report.format = f"one JSON document, an {kind} (task file)".replace("an list", "a list")
    report.samples = [(1, [json.dumps(item, ensure_ascii=False)[:200]]) for item in items[:3]]
    report.lengths = [len(json.dumps(item, ensure_ascii=False)) for item in items]
    return report


def _raw_lines(source: Source) -> Iterator[tuple[int, bytes]]:
    with source.open() as (stream, _):
        for number, raw in enumerate(stream, 1):
            if number == 1:
                raw = raw.removeprefix(BOM)
            yield number, raw.removesuffix(b"\n").removesuffix(b"\r")


def _decode(raw: bytes) -> tuple[str, str | None]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return "", f"byte 0x{raw[error.start]:02x} at position {error.start} of the line is not UTF-8"
    if "\0" in text:
        return "", "holds a NUL character"
    if len(raw) > LONGEST:
        return "", f"is {len(raw):,} bytes long; lines over {LONGEST >> 20} MiB may be cut"
    return text, None


class _Rule(ABC):
    """What a line of the file must be.

    Attributes:
        header: whether the first line names columns.
        label: place of the label among the fields, None when there is none.
        blank_lines: whether blank lines are allowed.
    """

    header = False
    label: int | None = None
    blank_lines = True

    @abstractmethod
    def describe(self) -> str:
        """The format in words."""

    @abstractmethod
    def fields(self, text: str) -> tuple[list[str], str | None]:
        """The fields of a line, and what is wrong with it."""


class _Text(_Rule):
    """Plain text: every line is right."""

    def __init__(self, blank: int, lines: int) -> None:
        self._documents = blank > 0 and lines > 0

    def describe(self) -> str:
        """See `_Rule`."""
        if self._documents:
            return (
                "text with blank lines: one sentence a line, documents parted by blank lines "
                "(bert, albert, gsg, bart); lm, mlm, t5, bilm would take each line for a document"
            )
        return "text, one document a line (lm, mlm, t5, bilm)"

    def fields(self, text: str) -> tuple[list[str], str | None]:
        """The line is the one field."""
        return [text], None


class _Columns(_Rule):
    """A table without header: every line has as many fields as most lines have."""

    def __init__(self, count: int, labelled: bool) -> None:
        self._counts, self.label = ((2, 3) if labelled else (count,)), 0 if labelled else None
        self._labelled = labelled

    def describe(self) -> str:
        """See `_Rule`."""
        if self._labelled:
            return "label and one or two texts, TAB between, no header (cls, cls_mlm)"
        return f"{self._counts[0]} columns, TAB between, no header" + (
            " (mt, prefixlm)" if self._counts == (2,) else ""
        )

    def fields(self, text: str) -> tuple[list[str], str | None]:
        """The columns; their number, and whether the label is one, is held against the rule."""
        fields = text.split("\t")
        if len(fields) not in self._counts:
            return fields, f"has {len(fields)} columns, not {' or '.join(map(str, self._counts))}"
        if self._labelled and not fields[0].strip().isdecimal():
            return fields, f"the label is '{fields[0][:40]}', not an integer of 0 or more"
        return fields, None


class _Table(_Rule):
    """A table with a header."""

    header, blank_lines = True, False

    def __init__(self, columns: list[str]) -> None:
        self._columns = columns
        self.label = columns.index("label") if "label" in columns else None

    def describe(self) -> str:
        """See `_Rule`."""
        return f"a table with the columns {', '.join(self._columns)} (task file)"

    def fields(self, text: str) -> tuple[list[str], str | None]:
        """The cells under the header's columns; too few, or further ones that hold something, are a fault."""
        fields = text.split("\t")
        if not text.strip():
            return fields, "the row is empty"
        if len(fields) < len(self._columns):
            return fields, f"has {len(fields)} of {len(self._columns)} columns"
        if any(fields[len(self._columns) :]):
            return (
                fields,
                f"has {len(fields)} columns and the header names {len(self._columns)}; a TAB in a text?",
            )
        return fields[: len(self._columns)], None


class _Json(_Rule):
    """JSON lines that have the fields of the first one."""

    def __init__(self, names: list[str]) -> None:
        self._names = [name for name in names if name in COLUMNS] or names[:1]
        self.label = self._names.index("label") if "label" in self._names else None

    def describe(self) -> str:
        """See `_Rule`."""
        return f"JSON lines with the fields {', '.join(self._names)}"

    def fields(self, text: str) -> tuple[list[str], str | None]:
        """The values of the named fields; what is no object, or lacks one of them, is a fault."""
        try:
            row = parse_json(text)
        except json.JSONDecodeError as error:
            return [], f"is not JSON ({error.msg} at column {error.colno})"
        if not isinstance(row, dict):
            return [], f"is a JSON {type(row).__name__}, not an object"
        missing = [name for name in self._names if name not in row]
        if missing:
            return [], f"lacks the field {', '.join(missing)}"
        return [str(row[name]) for name in self._names], None


def _recognise(source: Source) -> _Rule:
    """The format, from the file's name and its first lines."""
    head = []
    for number, raw in _raw_lines(source):
        head.append(raw.decode("utf-8", "replace"))
        if number == LOOK_AT:
            break
    full = [text for text in head if text.strip()]
    if not full:
        raise DataError("holds no text, only blank lines.", path=source.path)
    named = source.format in ("jsonl", "parquet")
    if named or full[0].lstrip().startswith("{"):
        for text in full:
            with contextlib.suppress(ValueError):
                if isinstance(row := parse_json(text), dict) and row:
                    return _Json(list(row))
        if named:
            return _Json(["text"])
    columns = head[0].split("\t")
    if set(columns) & set(COLUMNS):
        return _Table(columns)
    counts = Counter(text.count("\t") + 1 for text in full)
    common, times = counts.most_common(1)[0]
    if common in (2, 3) and times > len(full) / 2:
        integers = sum(text.split("\t")[0].strip().isdecimal() for text in full)
        return _Columns(common, labelled=integers > len(full) / 2)
    return _Text(len(head) - len(full), len(full))


def describe(path: str | Path, report: Report, tokenizer: Tokenizer | None) -> list[str]:
    """A report as lines of text."""
    unit = "characters" if tokenizer is None else "tokens"
    lines = [f"{path}: {report.format}", f"{report.lines:,} lines, {report.blank:,} blank"]
    if report.labels:
        few = report.labels.most_common() if len(report.labels) <= MOST_LABELS else []
        common = ", ".join(f"{label} ({count:,})" for label, count in few)
        lines.append(f"{len(report.labels):,} different labels{': ' * bool(few)}{common}")
    for number, fields in report.samples:
        lines.append(f"line {number:,}:")
        for value in fields:
            tokens = "" if tokenizer is None else "  →  " + " ".join(tokenizer.tokenize(value[:200])[:60])
            lines.append(f"  {value[:200]}{tokens}")
    lines += histogram(np.array(report.lengths, np.int64), f"{unit} of a line")
    lines += [f"{path}:{number}: {fault}" for number, fault in report.bad]
    lines.append(f"{len(report.bad):,} bad lines")
    return lines
