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

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from uer.tokenizers import bert_chars
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.bert_chars import ALONE, DROP, EXPAND, LETTER, MOVES
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import join_wordpieces, sound
from uer.tokenizers.vocab import Vocab
from uer.tokenizers.wordpiece import WordPieces

# Code points handled at once: few enough that the arrays stay in the processor's cache.
BLOCK = 1 << 16
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
        self._letters = np.where(classes == LETTER, self._chars.letters, np.uint32(BLANK))

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        parts, ends, total = [np.empty(0, np.int32)], [np.zeros(1, np.int64)], 0
        for block in _blocks(texts):
            ids, block_ends = self._encode_block(block)
            parts.append(ids)
            ends.append(block_ends + total)
            total += len(ids)
            self._words.shrink()
        return np.concatenate(parts), np.concatenate(ends)

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
        codes, ends = _code_points(texts)
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
        return np.fromiter(map(self._words.__getitem__, words), np.int32, len(words))

    def _rewrite(
        self, texts: Sequence[str], codes: np.ndarray, kinds: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The block without code points that vanish or become several, and with marks in canonical order."""
        if kinds.min() == MOVES:
            begins = np.concatenate(([0], ends[:-1]))
            moved = np.minimum.reduceat(kinds, begins) == MOVES
            texts = [self._normalizer.normalize_str(sound(t)) if m else t for t, m in zip(texts, moved)]
            codes, ends = _code_points(texts)
            kinds = self._table.take(codes)
            # In their final order now, they are letters that stand for themselves.
            kinds[kinds == MOVES] = LETTER
        lengths = (kinds != DROP).astype(np.int64)
        expand = np.flatnonzero(kinds == EXPAND)
        chars = self._chars
        entries = np.searchsorted(chars.expand_codes, codes.take(expand))
        lengths[expand] = np.diff(chars.expand_starts).take(entries)
        stops = np.cumsum(lengths)
        codes, kinds = np.repeat(codes, lengths), np.repeat(kinds, lengths)
        counts = lengths.take(expand)
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(stops.take(expand) - counts, counts) + within
        codes[places] = chars.expand_pool.take(np.repeat(chars.expand_starts.take(entries), counts) + within)
        kinds[places] = LETTER
        return codes, kinds, stops.take(ends - 1)

    @cached_property
    def _normalizer(self) -> Any:
        from tokenizers.normalizers import BertNormalizer

        return BertNormalizer(lowercase=self.do_lower_case)


def _blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Runs of texts of about `BLOCK` characters; a longer text is alone in its run."""
    start = size = 0
    for stop, text in enumerate(texts):
        size += len(text) + 1
        if size > BLOCK and stop > start:
            yield texts[start:stop]
            start, size = stop, len(text) + 1
    if start < len(texts):
        yield texts[start:]


def _code_points(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The code points of texts, a line feed behind each, as uint32, and the end of each text."""
    joined = "\n".join(texts) + "\n"
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    return np.array(joined).reshape(1).view(np.uint32), ends
