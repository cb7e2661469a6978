"""Tokens that are already parted by blanks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from uer.tokenizers.base import Tokenizer
from uer.tokenizers.char import vocabulary_files
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.vocab import Vocab

if TYPE_CHECKING:
    from uer.tokenizers.sentence_piece import SpmModel


class SpaceTokenizer(Tokenizer):
    """The words of the stripped text between single blanks; two blanks in a row hold an unknown token.

    Args:
        vocab: the vocabulary.
        special: the special tokens, None to find them in the vocabulary.
        model: the sentencepiece model whose pieces are the vocabulary, if it does not come from a file of
            tokens.
    """

    name = "space"

    def __init__(
        self, vocab: Vocab, *, special: SpecialTokens | None = None, model: SpmModel | None = None
    ) -> None:
        super().__init__(vocab, special)
        self._model = model

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        get, unknown = self.vocab.index.get, self.unk_id
        ids: list[int] = []
        offsets = np.zeros(len(texts) + 1, np.int64)
        for number, text in enumerate(texts):
            text = text.strip()
            if text:
                ids.extend([get(word, unknown) for word in text.split(" ")])
            offsets[number + 1] = len(ids)
        return np.array(ids, np.int32), offsets

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """The words with a blank between them."""
        return " ".join(tokens)

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        return vocabulary_files(self.vocab, self._model)
