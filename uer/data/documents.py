"""JSON documents read with the place of every fault: `FILE: data[3].paragraphs[0].context: …`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uer.data.readers import encoding_error, open_binary, read_lines
from uer.errors import DataError
from uer.utils.jsons import parse_json

KINDS = {dict: "an object", list: "a list", str: "a string", int: "a whole number", bool: "true or false"}


class Node:
    """A value of a JSON document, and where it stands.

    Args:
        value: what `json` gave.
        path: the file. line: the line, where each line is a document.
        place: the way to the value, as in `data[3].context`; empty at the top.
    """

    def __init__(self, value: Any, path: str | Path, line: int | None = None, place: str = "") -> None:
        self.value, self.path, self.line, self.place = value, path, line, place

    def fault(self, message: str) -> DataError:
        """The error that names this place."""
        return DataError(f"{self.place or 'the document'}: {message}", path=self.path, line=self.line)

    def of(self, kind: type) -> Any:
        """The value, which must be of a kind (`KINDS`).

        Raises:
            DataError: it is of another one.
        """
        whole = not (kind is int and isinstance(self.value, bool))
        if isinstance(self.value, kind) and whole:
            return self.value
        got = "null" if self.value is None else json.dumps(self.value, ensure_ascii=False)
        raise self.fault(f"must be {KINDS[kind]}, and is {got[:60]}.")

    def text(self) -> str:
        """A string that can be written as UTF-8."""
        text = self.of(str)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise self.fault("holds half of a surrogate pair, which is no character.") from None
        return text

    def items(self, least: int = 0) -> list[Node]:
        """The entries of a list of `least` entries at least."""
        values = self.of(list)
        if len(values) < least:
            raise self.fault(f"the list has {len(values)} entries; {least} are needed at least.")
        return [self._inner(value, f"[{number}]") for number, value in enumerate(values)]

    def get(self, key: str) -> Node:
        """The value of a key that the object must have."""
        found = self.find(key)
        if found is None:
            held = ", ".join(map(str, self.value)) or "none"
            raise self.fault(f"the key '{key}' is missing; there are: {held[:120]}.")
        return found

    def find(self, key: str) -> Node | None:
        """The value of a key, None where the object has no such key."""
        values = self.of(dict)
        return self._inner(values[key], f".{key}") if key in values else None

    def __getitem__(self, number: int) -> Node:
        """An entry of a list that is known to have it."""
        return self._inner(self.value[number], f"[{number}]")

    def _inner(self, value: Any, step: str) -> Node:
        return Node(value, self.path, self.line, (self.place + step).lstrip("."))


def read_document(path: str | Path) -> Node:
    """A whole file, or standard input for `-`, as one document.

    Raises:
        DataError: it cannot be read, is not UTF-8, or not JSON (with the line).
    """
    with open_binary(path) as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise encoding_error(path, line, 0, error, data[:4]) from error
    return Node(_parse(text, path, None), path)


def read_documents(path: str | Path) -> Iterator[Node]:
    """A document a line; empty lines are passed over.

    Raises:
        DataError: see `read_lines`; or a line is not JSON.
    """
    for number, text in read_lines(path):
        if text.strip():
            yield Node(_parse(text, path, number), path, number)


def read_stream(path: str | Path) -> Iterator[Node]:
    """The document of a file; those of standard input as they come, each in a line.

    A first line of standard input that is no whole document is the beginning of one over all lines.

    Raises:
        DataError: see `read_document`, `read_documents`.
    """
    if str(path) != "-":
        yield read_document(path)
        return
    lines = read_lines(path)
    first = next((entry for entry in lines if entry[1].strip()), (1, ""))
    try:
        json.loads(first[1])
    except ValueError:
        before = "\n" * (first[0] - 1)  # so that faults have the number of their line
        yield Node(_parse(before + "\n".join([first[1], *(text for _, text in lines)]), path, None), path)
        return
    for number, text in itertools.chain([first], lines):
        if text.strip():
            yield Node(_parse(text, path, number), path, number)


def _parse(text: str, path: str | Path, line: int | None) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        if not text.strip():
            raise DataError("the file is empty; it must hold a JSON document.", path=path) from error
        at = error.lineno if line is None else line
        message = f"is not valid JSON: {error.msg.removesuffix(' at')} at column {error.colno}."
        raise DataError(message, path=path, line=at) from error
