"""WordPiece of single words: greedy longest match, remembered word by word.

Schuster and Nakajima, "Japanese and Korean voice search" (2012), in BERT's left-to-right form.
"""

from __future__ import annotations

from array import array

import numpy as np

# Words beyond this are not remembered, and the memory is emptied when it holds too many: it stays a few tens
# of MB.
LONGEST_REMEMBERED = 64
MOST_WORDS = 1 << 18
MOST_PIECES = 1 << 20


class WordPieces(dict):
    """Word → handle: below the vocabulary size V the id of a word of one piece; `V + k` is the k-th word of
    several pieces, whose ids `expand` puts in the handle's place.

    Looking up a word that is not there cuts it into pieces. Handles are valid until `shrink` is called.

    Args:
        index: token → id.
        vocab_size: number of entries V, so that handles and ids cannot meet.
        unk_id: the id of a word that cannot be cut.
        max_chars: words of more characters are unknown.
        prefix: what pieces inside a word begin with.
    """

    def __init__(
        self, index: dict[str, int], vocab_size: int, unk_id: int, max_chars: int = 200, prefix: str = "##"
    ) -> None:
        super().__init__()
        self._index, self._size, self._unk, self._max_chars = index, vocab_size, unk_id, max_chars
        self._inner = {
            token[len(prefix) :]: number for token, number in index.items() if token.startswith(prefix)
        }
        self._longest = max(map(len, index), default=1)
        self._starts, self._pool = array("q", [0]), array("i")

    def cut(self, word: str) -> list[int]:
        """The ids of a word's pieces; the unknown id alone when no cutting works."""
        if len(word) > self._max_chars:
            return [self._unk]
        pieces: list[int] = []
        start, end, table = 0, len(word), self._index
        while start < end:
            for stop in range(min(end, start + self._longest), start, -1):
                piece = table.get(word[start:stop])
                if piece is not None:
                    break
            else:
                return [self._unk]
            pieces.append(piece)
            start, table = stop, self._inner
        return pieces

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
        repeats = np.ones(len(handles), np.int64)
        repeats[several] = counts
        ids = np.repeat(handles, repeats)
        # Where each such word begins in the result: its place before, moved by what the words ahead of it
        # added.
        added = np.cumsum(counts - 1)
        begin = several + added - (counts - 1)
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        ids[np.repeat(begin, counts) + within] = np.frombuffer(self._pool, np.int32).take(
            np.repeat(first, counts) + within
        )
        shift = np.concatenate((np.zeros(1, np.int64), added))
        return ids, ends + shift.take(np.searchsorted(several, ends))
