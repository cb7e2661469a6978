"""Tokens that are already parted by blanks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.tokenizers.char import ListTokenizer


class SpaceTokenizer(ListTokenizer):
    """The words of the stripped text between single blanks; two blanks in a row hold an unknown token."""

    name = "space"

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
