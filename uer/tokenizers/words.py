"""Words cut once and remembered, so that each costs a dictionary look-up however often it comes; and the loop
over blocks of texts around it."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np

# Code points handled at once: few enough that the arrays stay in the processor's cache.
BLOCK = 1 << 16
# Words beyond this are not remembered, and the memory is emptied when it holds too many: tens of MB at most.
LONGEST_REMEMBERED = 64
MOST_WORDS = 1 << 18
MOST_PIECES = 1 << 20


class WordMemory(dict):
    """Word → handle: below the vocabulary size V the id of a word of one piece; `V + k` is the k-th word of
    several pieces, whose ids `expand` puts in the handle's place.

    Looking up a word that is not there cuts it into pieces. Handles are valid until `shrink` is called.

    Args:
        vocab_size: number of entries V, so that handles and ids cannot meet.

    Attributes:
        lock: held while handles are in use, so that threads may share a tokenizer.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.lock = Lock()
        self._size = vocab_size
        self._starts, self._pool = array("q", [0]), array("i")

    @abstractmethod
    def cut(self, word: str) -> list[int]:
        """The ids of a word's pieces, at least one."""

    def __missing__(self, word: str) -> int:
        pieces = self.cut(word)
        if len(pieces) == 1:
            handle = pieces[0]
        else:
            handle = self._size + len(self._starts) - 1
            self._pool.extend(pieces)
            self._starts.append(len(self._pool))
        if len(word) <= LONGEST_REMEMBERED:
            self[word] = handle
        return handle

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, lock=Lock())

    def handles(self, words: list[str]) -> np.ndarray:
        """The handle of each word, int32."""
        return np.fromiter(map(self.__getitem__, words), np.int32, len(words))

    def shrink(self) -> None:
        """Forget everything when too much is remembered; to be called when no handle is in use."""
        if len(self) > MOST_WORDS or len(self._pool) > MOST_PIECES:
            self.clear()
            self._starts, self._pool = array("q", [0]), array("i")

    def expand(self, handles: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Put the ids of words of several pieces in the place of their handles.

        Args:
            handles: int32 [N], ids and handles.
            ends: int64 [n], for each text the end of its part of `handles`.

        Returns:
            ids int32 [M] and the ends of the texts in it.
        """
        several = np.flatnonzero(handles >= self._size)
        if several.size == 0:
            return handles, ends
        words = handles.take(several) - self._size
        starts = np.frombuffer(self._starts, np.int64)
        first = starts.take(words)
        counts = starts.take(words + 1) - first
        ids, stops = spread(handles, several, counts, np.frombuffer(self._pool, np.int32), first)
        return ids, np.concatenate((np.zeros(1, np.int64), stops)).take(ends)


def spread(
    values: np.ndarray, places: np.ndarray, counts: np.ndarray, pool: np.ndarray, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Replace `values[places[i]]` by `pool[first[i] : first[i] + counts[i]]`; other values stay.

    Returns:
        the new values, and for each old value where it (or what replaced it) ends in them.
    """
    lengths = np.ones(len(values), np.int64)
    lengths[places] = counts
    stops = np.cumsum(lengths)
    out = np.repeat(values, lengths)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    out[np.repeat(stops.take(places) - counts, counts) + within] = pool.take(
        np.repeat(first, counts) + within
    )
    return out, stops


def encode_blocks(
    texts: Sequence[str],
    encode_block: Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]],
    memory: WordMemory,
    cut_place: Callable[[str, int, int], int],
) -> tuple[np.ndarray, np.ndarray]:
    """`Tokenizer.encode_batch` by a function that gives the ids of a few texts and the end of each.

    Args:
        texts: any number of texts of any length.
        encode_block: ids of a few texts, and the end of each in them.
        memory: locked while handles are in use, and told when none is.
        cut_place: of (text, start, stop), the last place after `start` and up to `stop` where a text may be
            cut in two without changing its ids; `start` when there is none.
    """
    parts, ends, total = [np.empty(0, np.int32)], [np.zeros(1, np.int64)], 0
    for block in blocks(texts):
        whole = len(block) > 1 or len(block[0]) <= BLOCK
        for run in (block,) if whole else pieces(block[0], cut_place):
            with memory.lock:
                ids, run_ends = encode_block(run)
                memory.shrink()
            parts.append(ids)
            if whole:
                ends.append(run_ends + total)
            total += len(ids)
        if not whole:
            ends.append(np.array([total]))
    return np.concatenate(parts), np.concatenate(ends)


def blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Runs of texts of at most `BLOCK` characters; a longer text is alone in its run."""
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    start = before = 0
    while start < len(texts):
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        yield texts[start:stop]
        start, before = stop, int(ends[stop - 1])


def pieces(text: str, cut_place: Callable[[str, int, int], int]) -> Iterator[list[str]]:
    """A long text in pieces of about `BLOCK` characters, longer where it cannot be cut."""
    start, stop, looked = 0, BLOCK, 0
    while stop < len(text):
        place = cut_place(text, max(start, looked), stop)
        if place > max(start, looked):
            yield [text[start:place]]
            start = looked = place
            stop = start + BLOCK
        else:
            looked, stop = stop, stop + BLOCK
    yield [text[start:]]
