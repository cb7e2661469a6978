"""Words of jieba in front of WordPiece: the tokenizer of WoBERT (Su 2020), whose vocabulary holds words.

A text is lower-cased and cut by jieba without its model of unknown words; a word that the vocabulary holds is
one token, any other one is cut as BERT does.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from uer.tokenizers.bert import BertTokenizer
from uer.tokenizers.text import sound
from uer.utils.lazy import optional


class JiebaTokenizer(BertTokenizer):
    """See the module.

    Raises:
        EnvironmentFault: jieba is not installed.
    """

    name = "jieba"

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        words = [list(self._cut(text)) for text in texts]
        index = self.vocab.index
        unknown = sorted({word for row in words for word in row if word not in index})
        ids, offsets = super().encode_batch(unknown)
        pieces = {word: ids[offsets[n] : offsets[n + 1]].tolist() for n, word in enumerate(unknown)}
        rows = [
            [number for word in row for number in ((index[word],) if word in index else pieces[word])]
            for row in words
        ]
        ends = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=ends[1:])
        return np.array([number for row in rows for number in row], np.int32), ends

    def _cut(self, text: str) -> Sequence[str]:
        """The words of a text; special tokens in it are plain text, as BERT's tokenizer takes them."""
        jieba = optional("jieba", "words")
        if not jieba.dt.initialized:
            jieba.setLogLevel(60)
        text = sound(text)
        if self.do_lower_case:
            decomposed = unicodedata.normalize("NFD", text)
            text = "".join(char for char in decomposed if unicodedata.category(char) != "Mn").lower()
        return jieba.lcut(text, HMM=False)
