"""Tokenizers over a sentencepiece model (Kudo and Richardson 2018): `bert` with one, and XLM-R's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.special import XLMR, SpecialTokens
from uer.tokenizers.text import sound
from uer.tokenizers.vocab import Vocab, read_bytes

BOUNDARY = "\u2581"  # what sentencepiece writes for a blank


class SpmModel:
    """A sentencepiece model and the bytes of its file.

    Attributes:
        content: the file.
        path: where it was read from.
        processor: sentencepiece's own object.
        pieces: the pieces in id order.
    """

    def __init__(self, content: bytes, path: str | Path) -> None:
        import sentencepiece

        self.content, self.path = content, Path(path)
        try:
            self.processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        except (RuntimeError, OSError) as error:
            raise DataError(
                "is not a sentencepiece model (or is damaged); give one with --spm_model_path.", path=path
            ) from error
        self.pieces: list[str] = self.processor.id_to_piece(list(range(self.processor.vocab_size())))

    @classmethod
    def load(cls, path: str | Path) -> SpmModel:
        """Read a model file.

        Raises:
            DataError: missing, empty, or no sentencepiece model.
        """
        content = read_bytes(path, "the sentencepiece model", "--spm_model_path")
        if not content:
            raise DataError("is empty; give a sentencepiece model with --spm_model_path.", path=path)
        return cls(content, path)

    def vocab(self) -> Vocab:
        """The pieces as a vocabulary."""
        return Vocab(self.pieces, self.path)

    def encode(self, texts: Sequence[str], out_type: type) -> list[list[Any]]:
        """Pieces (`str`) or ids (`int`) of each text; lone surrogates count as U+FFFD."""
        # One thread: who wants more runs more processes, and their threads would fight for the cores.
        return self.processor.encode([sound(text) for text in texts], out_type=out_type, num_threads=1)

    def join(self, tokens: Sequence[str], special: frozenset[str]) -> str:
        """Text from pieces; special tokens, which the model would leave out, stand between blanks."""
        parts: list[str] = []
        run: list[str] = []
        for token in tokens:
            if token in special:
                parts += [self.processor.decode(run), token] if run else [token]
                run = []
            else:
                run.append(token)
        if run:
            parts.append(self.processor.decode(run))
        return " ".join(parts)


class _PieceTokenizer(Tokenizer):
    """What the tokenizers over a model have in common."""

    def __init__(self, model: SpmModel, vocab: Vocab, special: SpecialTokens | None) -> None:
        super().__init__(vocab, special)
        self.model = model

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """Text from pieces."""
        return self.model.join(tokens, frozenset(self.special.required().values()))

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        return {"spm_model_path": ("spm.model", self.model.content)}


class SentencePieceTokenizer(_PieceTokenizer):
    """`--tokenizer bert --spm_model_path`: the model's pieces and ids, case kept.

    A piece that ends in a digit and a comma is cut once more without the comma, so that numbers look alike
    wherever they stand (Google's rule for XLNet and ALBERT). Special tokens are the model's own pieces of
    that name.

    Args:
        model: the sentencepiece model.
        special: the special tokens, None to find them among the pieces.
    """

    name = "bert"

    def __init__(self, model: SpmModel, *, special: SpecialTokens | None = None) -> None:
        super().__init__(model, model.vocab(), special)
        self._recut = {
            number: self.convert_tokens_to_ids(self._cut_number(piece))
            for number, piece in enumerate(model.pieces)
            if _ends_in_number_comma(piece)
        }
        self._flagged = np.zeros(len(model.pieces), bool)
        self._flagged[list(self._recut)] = True

    def tokenize(self, text: str) -> list[str]:
        """The pieces of one text, as they are written in it also where the vocabulary lacks them."""
        pieces = self.model.encode([text], str)[0]
        if not any(map(_ends_in_number_comma, pieces)):
            return pieces
        cut = (self._cut_number(piece) if _ends_in_number_comma(piece) else [piece] for piece in pieces)
        return list(chain.from_iterable(cut))

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        if "," not in self.vocab:  # unknown pieces then swallow commas, so the rule has to see the text
            return flatten([self.convert_tokens_to_ids(self.tokenize(text)) for text in texts])
        rows = self.model.encode(texts, int)
        ids, offsets = flatten(rows)
        touched = np.flatnonzero(self._flagged.take(ids))
        if touched.size == 0:
            return ids, offsets
        for row in np.unique(np.searchsorted(offsets, touched, side="right") - 1):
            rows[row] = list(chain.from_iterable(self._recut.get(number, (number,)) for number in rows[row]))
        return flatten(rows)

    def _cut_number(self, piece: str) -> list[str]:
        """The pieces of `▁2,009,` and the like."""
        inner = self.model.processor.encode(piece[:-1].replace(BOUNDARY, ""), out_type=str)
        if piece[0] != BOUNDARY and inner and inner[0][0] == BOUNDARY:
            inner = inner[1:] if inner[0] == BOUNDARY else [inner[0][1:], *inner[1:]]
        return [*inner, piece[-1]]


def _ends_in_number_comma(piece: str) -> bool:
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


class XlmRobertaTokenizer(_PieceTokenizer):
    """XLM-RoBERTa's ids over a sentencepiece model: `<s> <pad> </s> <unk>`, the other pieces, `<mask>`.

    Conneau et al. 2020; the order is fairseq's.

    Args:
        model: the sentencepiece model.
        special: the special tokens, XLM-R's by default.
    """

    name = "xlmroberta"

    def __init__(self, model: SpmModel, *, special: SpecialTokens | None = None) -> None:
        special = special or XLMR
        head = [special.cls, special.pad, special.sep, special.unk]
        tokens = head + [piece for piece in model.pieces if piece not in head] + [special.mask]
        super().__init__(model, Vocab(tokens, model.path), special)
        # Ids of the model → ids of ours; the model's own unknown piece may have another name.
        self._ids = np.array(self.convert_tokens_to_ids(model.pieces), np.int32)
        self._ids[model.processor.unk_id()] = self.unk_id

    def tokenize(self, text: str) -> list[str]:
        """The pieces of one text, as they are written in it also where the vocabulary lacks them."""
        return self.model.encode([text], str)[0]

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        ids, offsets = flatten(self.model.encode(texts, int))
        return self._ids.take(ids), offsets


def flatten(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids as `Tokenizer.encode_batch` returns them."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)), out=offsets[1:])
    return np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1])), offsets
