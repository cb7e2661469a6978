"""The vocabulary file: one token a line, the line number from 0 is the id."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uer.errors import DataError
from uer.utils.files import atomic_write
from uer.utils.known_files import hint
from uer.utils.logging import logger


class Vocab:
    """Tokens by id and ids by token.

    A blank line keeps its id as the token `""`, which no text can match. Of a token that stands on several
    lines the last id is used (as UER and Hugging Face do); all of them decode to it.

    Args:
        tokens: the tokens in id order.
        path: where they come from, named in errors.
    """

    def __init__(self, tokens: Iterable[str], path: str | Path | None = None) -> None:
        self.tokens: list[str] = list(tokens)
        self.path = path
        self.index: dict[str, int] = {token: number for number, token in enumerate(self.tokens) if token}

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self.index

    @classmethod
    def load(cls, path: str | Path, flag: str = "--vocab_path") -> Vocab:
        """Read a file; the first field of each line counts, a byte-order mark is accepted.

        Raises:
            DataError: missing, empty, or not UTF-8 (with line and byte offset).
        """
        path = Path(path)
        text = read_text(path, "the vocabulary file", flag)
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        vocab = cls(((line.split(None, 1) or [""])[0] for line in lines), path)
        if not vocab.index:
            raise DataError("is empty; a vocabulary file holds one token a line.", path=path)
        vocab._tell_repetitions()
        return vocab

    def save(self, path: str | Path) -> None:
        """Write one token a line, so that `load` gives the same ids."""
        with atomic_write(path, "wb") as file:
            file.write(self.content())

    def content(self) -> bytes:
        """The file that `save` writes."""
        return "".join(f"{token}\n" for token in self.tokens).encode("utf-8")

    def _tell_repetitions(self) -> None:
        repeated = [
            token for number, token in enumerate(self.tokens) if token and self.index[token] != number
        ]
        if repeated:
            first = repeated[0]
            logger.warning(
                f"{self.path}: {len(repeated)} token(s) stand on several lines, such as '{first}' on lines "
                f"{self.tokens.index(first) + 1} and {self.index[first] + 1}; the last line's id is used."
            )


def read_text(path: str | Path, what: str, flag: str) -> str:
    """A UTF-8 file as text with `\\n` line ends and without a byte-order mark.

    Raises:
        DataError: missing (a known public file is named, with the command that fetches it), or not UTF-8.
    """
    path = Path(path)
    data = read_bytes(path, what, flag)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}; save the file as UTF-8.",
            path=path,
            line=data.count(b"\n", 0, error.start) + 1,
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: str | Path, what: str, flag: str) -> bytes:
    """A whole file.

    Raises:
        DataError: it is missing, a folder, or may not be read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{what} does not exist; give a file that exists with {flag}.{hint(path)}", path=path)
    if path.is_dir():
        raise DataError(f"{what} is a folder; give a file with {flag}.", path=path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{what} cannot be read ({error.strerror}).", path=path) from error
