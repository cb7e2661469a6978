"""Files read line by line: strict UTF-8 with the place of every fault, and tables with a header."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from uer.errors import DataError, suggestion
from uer.utils.logging import logger

BOM = codecs.BOM_UTF8


def describe_bytes(data: bytes) -> str:
    """What a file that is not UTF-8 probably is, from its first bytes; ends in a hint of how to mend it."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "the file looks like UTF-16; convert it with: iconv -f UTF-16 -t UTF-8"
    if data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return "the file looks compressed; end its name in .gz or .zst"
    if data.startswith(b"PK\x03\x04"):
        return "the file is a zip archive (an office document, a torch file?); export it as UTF-8 text"
    return "convert the file to UTF-8 (from GBK: iconv -f GB18030 -t UTF-8)"


def encoding_error(
    path: str | Path, line: int, offset: int, error: UnicodeDecodeError, head: bytes = b""
) -> DataError:
    """The error for bytes that are not UTF-8.

    Args:
        line: number of the line, from 1.
        offset: byte offset of the line in the file; the fault lies `error.start` bytes behind it.
        head: the first bytes of the file, to guess what it is.
    """
    got = error.object[error.start]
    return DataError(
        f"byte 0x{got:02x} at offset {offset + error.start} is not UTF-8; {describe_bytes(head)}.",
        path=path,
        line=line,
    )


def open_binary(path: str | Path) -> BinaryIO:
    """The file opened for reading bytes; one that is missing, forbidden or a folder is a `DataError`.

    The name `-` is standard input.
    """
    if str(path) == "-":
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError("the file does not exist; check the path.", path=path) from None
    except IsADirectoryError:
        raise DataError("this is a folder; give a file.", path=path) from None
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror}).", path=path) from error


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, without its line end; a byte-order mark at the start is dropped.

    Lines end at `\\n` or `\\r\\n` and nowhere else; a last line without an end counts.

    Raises:
        DataError: the file is missing, is a folder, or is not UTF-8 (the message has line and byte offset).
    """
    with open_binary(path) as file:
        head, offset = b"", 0
        for number, raw in enumerate(file, 1):
            head = head or raw[:4]
            start = offset
            offset += len(raw)
            if number == 1 and raw.startswith(BOM):
                raw, start = raw[len(BOM) :], len(BOM)
                if not raw:
                    return
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise encoding_error(path, number, start, error, head) from error
            yield number, text.removesuffix("\n").removesuffix("\r")


def read_header(path: str | Path, required: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The column names of a table file.

    Raises:
        DataError: the file is empty, a name stands twice, or a required column is missing.
    """
    return _columns(next(read_lines(path), None), path, required, optional)


def _columns(
    first: tuple[int, str] | None, path: str | Path, required: Sequence[str], optional: Sequence[str]
) -> list[str]:
    """The column names in the first line."""
    if first is None:
        wanted = "<TAB>".join(required)
        raise DataError(f"the file is empty; its first line must name the columns, as {wanted}.", path=path)
    columns = first[1].split("\t")
    for name in {*required, *optional}:
        if columns.count(name) > 1:
            raise DataError(f"the column '{name}' is named twice; rename one of them.", path=path, line=1)
    known = {*required, *optional}
    for name in required:
        if name in columns:
            continue
        got = ", ".join(repr(column[:40]) for column in columns[:8])
        if len(columns) == 1 and name in columns[0].split(","):
            raise DataError(
                f"the first line holds {got}: columns are separated by commas here, and must be by TABs, "
                "without quotes; convert the file.",
                path=path,
                line=1,
            )
        if "\r" in first[1]:
            raise DataError(
                f"lines end at \\r alone ({got}); convert the file with: tr '\\r' '\\n'.", path=path, line=1
            )
        if not known & set(columns) and not any(suggestion(column, known) for column in columns):
            raise DataError(
                f"the first line must name the columns ({'<TAB>'.join(required)}), and it holds {got}; "
                "add the header.",
                path=path,
                line=1,
            )
        near = suggestion(name, [column for column in columns if column not in known])
        near = near.replace("Did you mean", "Is it meant by")
        raise DataError(f"the column '{name}' is missing; the columns are {got}.{near}", path=path, line=1)
    return columns


def read_tsv(
    path: str | Path, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a table: one TAB between columns, names in the first line, no quoting, columns in any order.

    Only `\\r` and `\\n` are taken off a line, so blanks and tabs at its ends stay. Columns that are neither
    required nor optional are left out of the rows. Fields beyond the last named column are ignored and
    reported once.

    Args:
        required: columns that the file must have.
        optional: columns that appear in every row if the header has them, and in none otherwise.

    Yields:
        the line number (the header is line 1) and column name → text.

    Raises:
        DataError: no such file, not UTF-8, empty, no header, a missing column, an empty row, or a row with
            fewer fields than the columns asked for need.
    """
    lines = read_lines(path)
    columns = _columns(next(lines, None), path, required, optional)
    places = [(name, columns.index(name)) for name in (*required, *optional) if name in columns]
    needed = max((place for _, place in places), default=0) + 1
    overlong, first_overlong = 0, 0
    for number, text in lines:
        fields = text.split("\t")
        if len(fields) < needed:
            if not text.strip():
                raise DataError("the row is empty; remove the line.", path=path, line=number)
            raise DataError(
                f"the row has {len(fields)} of {len(columns)} columns; separate them by one TAB each.",
                path=path,
                line=number,
            )
        if len(fields) > len(columns) and any(fields[len(columns) :]):
            overlong += 1
            first_overlong = first_overlong or number
        yield number, {name: fields[place] for name, place in places}
    if overlong:
        logger.warning(
            f"{path}: {overlong} rows hold more fields than the header names (first at line "
            f"{first_overlong}); what stands beyond the last column is ignored. Does a text contain a TAB?"
        )
