"""BERT's tokenizer over a vocabulary file, vectorised over code points.

Texts are joined, seen as an array of code points, and one table look-up gives each its id (CJK characters and
punctuation stand alone) or its class. What is left are the words of letters: their letters are gathered, cut
at once into Python strings, and looked up in a dictionary that remembers single words. No step costs a Python
operation a character.

Rules (Devlin et al. 2019, as `tokenizers` implements them): drop control characters, part CJK characters,
lower-case and strip accents (both or neither), split at blanks and punctuation, WordPiece. Words over 200
characters are unknown. Special tokens written in a text are plain text. Lone surrogates and NUL vanish like
other control characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from uer.tokenizers import bert_chars
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.bert_chars import ALONE, DROP, EXPAND, LETTER, MOVES, SPACE
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import join, join_wordpieces, sound
from uer.tokenizers.vocab import Vocab
from uer.tokenizers.wordpiece import WordPieces
from uer.tokenizers.words import encode_blocks, spread

BLANK = 0x20


class BertTokenizer(Tokenizer):
    """WordPiece over a vocabulary file.

    Args:
        vocab: the vocabulary.
        special: the special tokens, None to find them in the vocabulary.
        do_lower_case: lower-case and strip accents.
    """

    name = "bert"

    def __init__(
        self, vocab: Vocab, *, special: SpecialTokens | None = None, do_lower_case: bool = True
    ) -> None:
        super().__init__(vocab, special)
        self.do_lower_case = do_lower_case
        self._words = WordPieces(vocab.index, len(vocab), self.unk_id)
        self._chars = bert_chars.load(do_lower_case)
        alone = np.full(bert_chars.UNICODE_SIZE, self.unk_id, np.int32)
        for token, number in vocab.index.items():
            if len(token) == 1:
                alone[ord(token)] = number
        classes = self._chars.classes
        # Per code point: the id when it stands alone, otherwise its class, which is negative.
        self._table = np.where(classes == ALONE, alone.take(self._chars.letters), classes.astype(np.int32))
        # Per code point: its letter inside a word, a blank for whatever parts words.
        self._letters = np.where(
            (classes == LETTER) | (classes == MOVES), self._chars.letters, np.uint32(BLANK)
        )

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        return encode_blocks(texts, self._encode_block, self._words, self._cut_place)

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """Words put together from their pieces, blanks only where a reader expects them."""
        return join_wordpieces(tokens)

    def settings(self) -> dict[str, Any]:
        """See `Tokenizer.settings`."""
        return {"do_lower_case": self.do_lower_case}

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        return {"vocab_path": ("vocab.txt", self.vocab.content())}

    def _encode_block(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a few texts, and the end of each text in them."""
        _, codes, ends = join(texts)
        kinds = self._table.take(codes)
        if kinds.min() < LETTER:
            codes, kinds, ends = self._rewrite(texts, codes, kinds, ends)
        letter = kinds == LETTER
        first = letter.copy()
        np.greater(letter[1:], letter[:-1], out=first[1:])
        begins = np.flatnonzero(first)
        if begins.size:
            kinds[begins] = self._look_up(codes, letter)
        taken = kinds >= 0
        counts = np.add.reduceat(taken, np.concatenate(([0], ends[:-1])), dtype=np.int64)
        return self._words.expand(kinds[taken], np.cumsum(counts))

    def _look_up(self, codes: np.ndarray, letter: np.ndarray) -> np.ndarray:
        """The handles of all words, given the code points and which of them are letters."""
        wanted = letter.copy()
        wanted[1:] |= letter[:-1]  # and the one behind each word, which becomes the blank between words
        text = self._letters.take(codes[wanted]).tobytes().decode("utf-32-le")
        words = text.split(" ")
        words.pop()
        return self._words.handles(words)

    def _rewrite(
        self, texts: Sequence[str], codes: np.ndarray, kinds: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The block without code points that vanish or become several, and with marks in canonical order."""
        if kinds.min() == MOVES:
            begins = np.concatenate(([0], ends[:-1]))
            moved = np.minimum.reduceat(kinds, begins) == MOVES
            texts = [self._normalizer.normalize_str(sound(t)) if m else t for t, m in zip(texts, moved)]
            # From here on they are in their final order, and letters that stand for themselves.
            _, codes, ends = join(texts)
            kinds = self._table.take(codes)
        kept = kinds != DROP
        before = np.concatenate((np.zeros(1, np.int64), np.cumsum(kept)))
        codes, ends = codes[kept], before.take(ends)
        expand = np.flatnonzero(kinds[kept] == EXPAND)
        if expand.size:
            chars = self._chars
            entries = np.searchsorted(chars.expand_codes, codes.take(expand))
            first = chars.expand_starts.take(entries)
            counts = chars.expand_starts.take(entries + 1) - first
            codes, stops = spread(codes, expand, counts, chars.expand_pool, first)
            ends = stops.take(ends - 1)
        kinds = self._table.take(codes)
        kinds[kinds == MOVES] = LETTER
        return codes, kinds, ends

    def _cut_place(self, text: str, start: int, stop: int) -> int:
        """Behind a blank or what stands alone; see `encode_blocks`."""
        _, codes, _ = join([text[start:stop]])
        parting = np.flatnonzero(self._table.take(codes[:-1]) >= SPACE)
        return start + int(parting[-1]) + 1 if parting.size else start

    @cached_property
    def _normalizer(self) -> Any:
        from tokenizers.normalizers import BertNormalizer

        return BertNormalizer(lowercase=self.do_lower_case)
