"""Where words begin among tokens: pieces of Latin words, jieba's words in Chinese text (`uer.data.chinese`).

Whole-word masking asks for it. It is computed once for all tokens of a dataset: by `preprocess.py
--whole_word_masking` into the dataset, or at the first need into a file beside it (`dataset.pt.words`). Other
facts of the same kind (`Beside`) are found and kept in the same way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from uer.data.chinese import chinese_words
from uer.data.progress import ByteProgress
from uer.data.ragged import ragged_index, starts_of
from uer.data.store import Column, Store, write_store
from uer.data.workers import run_jobs
from uer.errors import DataError, EnvironmentFault
from uer.tokenizers.base import Tokenizer
from uer.utils.files import write_fault
from uer.utils.logging import logger

HEAD, TAIL, LETTER, CHINESE = 0, 1, 2, 3  # begins a word; goes on; goes on behind its like; jieba decides
BLOCK = 1 << 17  # tokens looked at together


def is_chinese(text: str) -> bool:
    """Whether a text consists of Chinese characters."""
    return bool(text) and all(
        "\u3400" <= char <= "\u9fff" or "\U00020000" <= char <= "\U0003ffff" for char in text
    )


class WordFinder:
    """Says of every token whether a word begins with it.

    The vocabulary tells how words are put together: `##` marks a piece that goes on, or `▁` or `Ġ` one that
    begins a word; in a vocabulary of characters letters and digits go on behind each other; else every
    token is a word.

    Args:
        tokenizer: whose ids the tokens are.
        chinese: join Chinese characters to jieba's words; else each is a word.
    """

    def __init__(self, tokenizer: Tokenizer, *, chinese: bool = True) -> None:
        tokens = list(tokenizer.convert_ids_to_tokens(range(tokenizer.vocab_size)))
        special = tokenizer.special_ids
        marker = next((mark for mark in ("▁", "Ġ") if sum(t.startswith(mark) for t in tokens) > 1), None)
        pieces = any(token.startswith("##") for token in tokens)
        chars = tokenizer.name == "char"
        texts = [token.removeprefix(marker) if marker else token for token in tokens]
        kinds = []
        for number, (token, text) in enumerate(zip(tokens, texts)):
            if number in special:
                kinds.append(HEAD)
            elif is_chinese(text) and tokenizer.name != "space":
                kinds.append(CHINESE if chinese else HEAD)
            elif marker:
                kinds.append(HEAD if token.startswith(marker) or not text[:1].isalnum() else TAIL)
            elif pieces and token.startswith("##") and len(token) > 2:
                kinds.append(TAIL)
            else:
                kinds.append(LETTER if chars and token.isalnum() else HEAD)
        self._kinds = np.array(kinds, np.int8)
        # The characters of Chinese tokens; each other token is a line feed, which parts words.
        texts = [text if kind == CHINESE else "\n" for text, kind in zip(texts, kinds)]
        self._chars = np.array(["".join(texts)]).view(np.uint32)
        self._sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        self._starts = starts_of(self._sizes)
        self._marked = np.array([bool(marker) and token.startswith(marker) for token in tokens])

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """uint8 [N]: 1 where a word begins."""
        parts = [self._block(ids[at : at + BLOCK]) for at in range(0, len(ids), BLOCK)]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint8)

    def _block(self, ids: np.ndarray) -> np.ndarray:
        kinds = self._kinds[ids]
        begins = kinds == HEAD
        letters = kinds == LETTER
        begins |= letters & ~np.concatenate(([False], letters[:-1]))
        chinese = kinds == CHINESE
        if chinese.any():
            begins |= chinese & (self._chinese(ids) | self._marked[ids])
        begins[:1] = True
        return begins.astype(np.uint8)

    def _chinese(self, ids: np.ndarray) -> np.ndarray:
        """Which tokens begin where a Chinese word begins."""
        sizes = self._sizes[ids]
        chars = self._chars.take(ragged_index(self._starts[ids], sizes))
        return chinese_words()(chars).take(starts_of(sizes))

    def prepare(self) -> None:
        """Load now what Chinese text will need, so that processes that are forked share it.

        When it is not installed nothing is said: perhaps there is no Chinese text.
        """
        if (self._kinds == CHINESE).any():
            with contextlib.suppress(EnvironmentFault):
                chinese_words()


class Finder(Protocol):
    """Says something of every token."""

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """uint8 [N]."""

    def prepare(self) -> None:
        """Load now what processes that are forked will share."""


class Beside(NamedTuple):
    """Something found in the tokens of a dataset, uint8 a token, kept in a file beside it.

    Attributes:
        name: of the array, in the file.
        suffix: of the file.
        found: what is found, in words.
        make: gives the finder.
        key: says what was looked for, so that the file is made anew for something else.
    """

    name: str
    suffix: str
    found: str
    make: Callable[[], Finder] | None
    key: str = ""


def words_of(store: Store, tokenizer: Tokenizer | None) -> np.ndarray:
    """uint8 beside the tokens of a dataset, 1 where a word begins: from the dataset, or from the file
    beside it, which is made when it is not there.

    Args:
        tokenizer: the one the dataset was made with.

    Raises:
        DataError: they must be computed and no tokenizer is given.
    """
    if "word" in store:
        return store["word"]
    make = None if tokenizer is None else lambda: WordFinder(tokenizer)
    found = beside(store, Beside("word", ".words", "words", make))
    if found is None:
        raise DataError(
            "--whole_word_masking needs the borders of words, which the dataset lacks; run preprocess.py "
            "with --whole_word_masking too.",
            path=store.path,
        )
    return found


def beside(store: Store, what: Beside) -> np.ndarray | None:
    """The content of the file beside a dataset, which is made when it is not there; None if it is not and
    `what.make` is None."""
    path = store.path.with_name(store.path.name + what.suffix)
    if (found := _read(path, store, what)) is not None or what.make is None:
        return found
    with _locked(path):
        if (found := _read(path, store, what)) is None:  # another process may have made it meanwhile
            _write(path, store, what)
            found = _read(path, store, what)
    assert found is not None
    return found


def _read(path: Path, store: Store, what: Beside) -> np.ndarray | None:
    """The file's content if it belongs to the dataset."""
    with contextlib.suppress(DataError):
        side = Store(path)
        same = side.header.get("tokens") == store.header["arrays"]["tokens"]
        if same and side.header.get("key", "") == what.key:
            return side[what.name]
    return None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = path.with_name(f".{path.name}.lock")
    try:
        with open(lock, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
            lock.unlink(missing_ok=True)
    except OSError as error:
        raise write_fault(path, error) from error


def _write(path: Path, store: Store, what: Beside) -> None:
    """Find it in all tokens, on all processors, and write it in constant memory."""
    tokens = store["tokens"]
    finder = what.make()
    logger.info(f"Finding the {what.found} of {len(tokens):,} tokens; they are kept in {path}.")
    finder.prepare()
    progress = ByteProgress(len(tokens))

    def work(start: int) -> np.ndarray:
        """What is found in one block of tokens."""
        return finder(np.asarray(tokens[start : start + BLOCK]))

    def chunks(name: str) -> Iterator[np.ndarray]:
        """The blocks in their order, whichever is done first."""
        waiting: dict[int, np.ndarray] = {}
        following = 0
        starts = range(0, len(tokens), BLOCK)
        for done in run_jobs(
            work, starts, os.cpu_count() or 1, lambda start: f"the tokens from {start:,} on"
        ):
            waiting[done.job] = done.result
            progress.advance(len(done.result), done.memory)
            while following in waiting:
                yield waiting.pop(following)
                following += BLOCK

    try:
        header = {"objective": what.found, "instances": len(tokens), "key": what.key}
        header["tokens"] = store.header["arrays"]["tokens"]
        write_store(path, header, {what.name: Column("<u1")}, {what.name: len(tokens)}, chunks)
    finally:
        progress.close()
