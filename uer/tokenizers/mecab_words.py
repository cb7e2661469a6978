"""Japanese text cut into words by MeCab, then into word pieces or characters: the tokenizers of the BERT
models of Tohoku University.

MeCab comes through the package `fugashi`, its dictionary through a package of that name (`ipadic`,
`unidic_lite`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from uer.tokenizers.cut import CutTokenizer
from uer.tokenizers.sentence_piece import flatten
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import join_wordpieces, sound
from uer.tokenizers.vocab import Vocab
from uer.tokenizers.wordpiece import WordPieces
from uer.utils.lazy import optional

DICTIONARIES = ("ipadic", "unidic_lite", "unidic")
LONGEST = 100
"""characters of a word; longer ones are unknown"""


class MecabTokenizer(CutTokenizer):
    """Words by MeCab from the text in NFKC, each cut into word pieces.

    Args:
        dictionary: the package with MeCab's dictionary; what a model was trained with.

    Raises:
        EnvironmentFault: a package is not installed.
    """

    name = "mecab"

    def __init__(
        self,
        vocab: Vocab,
        *,
        special: SpecialTokens | None = None,
        do_lower_case: bool = False,
        dictionary: str = DICTIONARIES[0],
        size: int = 0,
    ) -> None:
        super().__init__(vocab, special=special, do_lower_case=do_lower_case, size=size)
        self.dictionary = dictionary
        self._pieces = WordPieces(vocab.index, len(vocab), self.unk_id, LONGEST)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_mecab"}

    @cached_property
    def _mecab(self) -> Any:
        fugashi, folder = optional("fugashi", "japanese"), Path(optional(self.dictionary, "japanese").DICDIR)
        return fugashi.GenericTagger(f'-d "{folder}" -r "{folder / "mecabrc"}"')

    def parts(self, text: str) -> list[tuple[str, bool]]:
        """See `CutTokenizer.parts`; words are lower-cased after they were found."""
        found = self._special.split(text)
        return [(part, bool(n % 2)) for n, part in enumerate(found) if part]

    def words(self, text: str) -> list[str]:
        """The words of a text without special tokens."""
        words = [word.surface for word in self._mecab(unicodedata.normalize("NFKC", text))]
        return [word.lower() for word in words] if self.do_lower_case else words

    def cut(self, text: str) -> list[str]:
        """See `CutTokenizer.cut`."""
        return self.convert_ids_to_tokens(number for word in self.words(text) for number in self.ids_of(word))

    def ids_of(self, word: str) -> list[int]:
        """The ids of one word."""
        return [number for part in word.split() for number in self._pieces.cut(part)]

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        known: dict[str, list[int]] = {}
        rows = []
        for text in texts:
            rows.append([])
            for part, special in self.parts(sound(text)):
                for word in (part,) if special else self.words(part):
                    if word not in known:
                        known[word] = [self.vocab.index[word]] if special else self.ids_of(word)
                    rows[-1] += known[word]
        return flatten(rows)

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """Words put together from their pieces."""
        return join_wordpieces(tokens)

    def settings(self) -> dict[str, Any]:
        """See `Tokenizer.settings`."""
        return {**super().settings(), "dictionary": self.dictionary}


class MecabCharTokenizer(MecabTokenizer):
    """Words by MeCab, each cut into characters: blanks are no tokens, and nothing else changes."""

    name = "mecab_char"

    def ids_of(self, word: str) -> list[int]:
        """The ids of one word."""
        return self.convert_tokens_to_ids(unicodedata.normalize("NFKC", word))
