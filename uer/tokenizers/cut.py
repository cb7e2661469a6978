"""Tokenizers of releases that cut a text by rules of their own (`uer.tokenizers.ernie`, `.mecab_words`)."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from uer.tokenizers.base import Tokenizer
from uer.tokenizers.sentence_piece import flatten
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import sound
from uer.tokenizers.vocab import Vocab


class CutTokenizer(Tokenizer):
    """Tokens by `cut`, their ids by the vocabulary.

    Special tokens written in a text count as such, as they do in the programs that these rules come from.

    Args:
        vocab: the tokens in id order.
        special: the special tokens, None to find them in the vocabulary.
        do_lower_case: lower-case the text.
        size: rows of the model's table, where they are more than the tokens.
    """

    released = True

    def __init__(
        self, vocab: Vocab, *, special: SpecialTokens | None, do_lower_case: bool, size: int = 0
    ) -> None:
        self._rows = size if size > len(vocab) else 0
        if self._rows:
            vocab = Vocab([*vocab.tokens, *[""] * (size - len(vocab))], vocab.path)
        super().__init__(vocab, special)
        self.do_lower_case = do_lower_case
        found = sorted(map(re.escape, self.special.required().values()), key=len, reverse=True)
        self._special = re.compile(f"({'|'.join(found)})")

    @abstractmethod
    def cut(self, text: str) -> Iterable[str]:
        """The tokens of a text without special ones, whether or not the vocabulary holds them."""

    def parts(self, text: str) -> list[tuple[str, bool]]:
        """A text as stretches, and whether each is a special token; the others lower-cased where asked."""
        found = self._special.split(text)
        lower = str.lower if self.do_lower_case else str
        return [(part if n % 2 else lower(part), bool(n % 2)) for n, part in enumerate(found) if part]

    def tokenize(self, text: str) -> list[str]:
        """The tokens of one text, as they are written in it also where the vocabulary lacks them."""
        return [
            token
            for part, special in self.parts(sound(text))
            for token in ((part,) if special else self.cut(part))
        ]

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        return flatten([self.convert_tokens_to_ids(self.tokenize(text)) for text in texts])

    def word_pieces(self) -> None:
        """No tokenizer of BERT's has the same tokens (`uer.tokenizers.recut`)."""

    def settings(self) -> dict[str, Any]:
        """See `Tokenizer.settings`."""
        size = {"size": self._rows} if self._rows else {}
        return {"do_lower_case": self.do_lower_case, **size}

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        tokens = self.vocab.tokens
        held = Vocab(
            tokens[: -tokens[::-1].index(next(filter(None, tokens[::-1])))] if self._rows else tokens
        )
        return {"vocab_path": ("vocab.txt", held.content())}
