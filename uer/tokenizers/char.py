"""One token a character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from uer.tokenizers.base import Tokenizer
from uer.tokenizers.bert_chars import UNICODE_SIZE
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.vocab import Vocab

if TYPE_CHECKING:
    from uer.tokenizers.sentence_piece import SpmModel


class ListTokenizer(Tokenizer):
    """A tokenizer that needs nothing but the list of its tokens.

    Args:
        vocab: the vocabulary.
        special: the special tokens, None to find them in the vocabulary.
        model: the sentencepiece model whose pieces are the vocabulary, if it does not come from a file of
            tokens.
    """

    def __init__(
        self, vocab: Vocab, *, special: SpecialTokens | None = None, model: SpmModel | None = None
    ) -> None:
        super().__init__(vocab, special)
        self._model = model

    def files(self) -> dict[str, tuple[str, bytes]]:
        """The one file that the vocabulary comes from; see `Tokenizer.files`."""
        if self._model is not None:
            return {"spm_model_path": ("spm.model", self._model.content)}
        return {"vocab_path": ("vocab.txt", self.vocab.content())}


class CharTokenizer(ListTokenizer):
    """The characters of the stripped text; case is kept, and a blank inside is a token like any other."""

    name = "char"

    def __init__(
        self, vocab: Vocab, *, special: SpecialTokens | None = None, model: SpmModel | None = None
    ) -> None:
        super().__init__(vocab, special=special, model=model)
        self._table = np.full(UNICODE_SIZE, self.unk_id, np.int32)
        for token, number in vocab.index.items():
            if len(token) == 1:
                self._table[ord(token)] = number

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        texts = [text.strip() for text in texts]
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
        # The line feed keeps numpy from seeing an empty string, which it stores as one NUL.
        codes = np.array("".join(texts) + "\n").reshape(1).view(np.uint32)[:-1]
        return self._table.take(codes), offsets

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """The characters in a row."""
        return "".join(tokens)
