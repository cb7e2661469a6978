"""WordPiece: a word as the longest pieces that the vocabulary holds, from left to right.

Schuster and Nakajima, "Japanese and Korean voice search" (2012), in BERT's greedy form.
"""

from __future__ import annotations

from uer.tokenizers.words import WordMemory


class WordPieces(WordMemory):
    """Words to WordPiece ids.

    Args:
        index: token → id.
        vocab_size: number of entries of the vocabulary.
        unk_id: the id of a word that cannot be cut.
        max_chars: words of more characters are unknown.
        prefix: what pieces inside a word begin with.
    """

    def __init__(
        self, index: dict[str, int], vocab_size: int, unk_id: int, max_chars: int = 200, prefix: str = "##"
    ) -> None:
        super().__init__(vocab_size)
        self._index, self._unk, self._max_chars = index, unk_id, max_chars
        self._inner = {
            token[len(prefix) :]: number for token, number in index.items() if token.startswith(prefix)
        }
        self._longest = max(map(len, index), default=1)

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
