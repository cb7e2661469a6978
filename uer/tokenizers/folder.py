"""The tokenizer of a Hugging Face folder, by that folder's own rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uer.errors import DataError
from uer.tokenizers.base import Frame, Tokenizer
from uer.tokenizers.pipelines import JSON_NAME
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import sound
from uer.tokenizers.vocab import Vocab

if TYPE_CHECKING:
    import tokenizers


class FolderTokenizer(Tokenizer):
    """A pipeline of the `tokenizers` library. Special tokens written in a text count as such, as they do
    there.

    Args:
        content: a `tokenizer.json`.
        special: the special tokens.
        path: where it was read from, for messages.
        size: rows of the model's table; those behind the last token (T5 has some) have no token.
        frame: what stands around texts; None: `[CLS] a [SEP] b [SEP]`.
    """

    name = "folder"

    def __init__(
        self,
        content: bytes,
        special: SpecialTokens,
        path: str | Path,
        *,
        size: int = 0,
        frame: Mapping[str, Any] | None = None,
    ) -> None:
        self.pipeline = read_pipeline(content, path)
        self._content = content
        index = self.pipeline.get_vocab(with_added_tokens=True)
        highest = max(index.values(), default=-1) + 1
        self._rows = size if size > highest else 0
        tokens = [""] * max(size, highest)
        for token, number in index.items():
            tokens[number] = token
        super().__init__(Vocab(tokens, path), special)
        self._frame = super().frame
        if frame is not None:
            around = (tuple(frame[name]) for name in ("before", "between", "after"))
            self._frame = Frame(*around, start=frame["start"])

    @property
    def frame(self) -> Frame:
        """See `Tokenizer.frame`."""
        return self._frame

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        found = self.pipeline.encode_batch_fast([sound(text) for text in texts], add_special_tokens=False)
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(one) for one in found], out=offsets[1:])
        ids = [number for one in found for number in one.ids]
        return np.array(ids, np.int32), offsets

    def encode_placed(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """See `Tokenizer.encode_placed`; blanks at the ends of a token do not count."""
        out = []
        found = self.pipeline.encode_batch(list(map(sound, texts)), add_special_tokens=False)
        for text, one in zip(texts, found):
            places = [_without_blanks(text, start, stop) for start, stop in one.offsets]
            out.append((np.array(one.ids, np.int32), np.array(places, np.int64).reshape(-1, 2)))
        return out

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """Text by the pipeline's own decoder."""
        decoder = self.pipeline.decoder
        return " ".join(tokens) if decoder is None else decoder.decode(list(tokens))

    def word_pieces(self) -> Tokenizer | None:
        """BERT's own tokenizer with the same tokens, where the pipeline is one of word pieces."""
        from uer.tokenizers.bert import BertTokenizer

        content = json.loads(self._content)
        if content["model"].get("type") != "WordPiece":
            return None
        lower = (content.get("normalizer") or {}).get("lowercase", False)
        return BertTokenizer(self.vocab, special=self.special, do_lower_case=bool(lower))

    def settings(self) -> dict[str, Any]:
        """What the files do not say: rows without a token, and another frame than BERT's."""
        out: dict[str, Any] = {"size": self._rows} if self._rows else {}
        return out if self._frame == super().frame else {**out, "frame": asdict(self._frame)}

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        return {"vocab_path": (JSON_NAME, self._content)}


def _without_blanks(text: str, start: int, stop: int) -> tuple[int, int]:
    inner = text[start:stop]
    bare = inner.strip()
    at = start + inner.index(bare)
    return (at, at + len(bare)) if bare else (start, stop)


def read_pipeline(content: bytes, path: str | Path) -> tokenizers.Tokenizer:
    """The pipeline of a `tokenizer.json`, which neither pads nor cuts.

    Raises:
        DataError: it is none.
    """
    from tokenizers import Tokenizer as Pipeline

    try:
        pipeline = Pipeline.from_str(content.decode("utf-8"))
    except Exception as error:  # the library raises a plain Exception for a damaged file
        raise DataError(f"is no tokenizer.json of the tokenizers library ({error}).", path=path) from error
    pipeline.no_padding()
    pipeline.no_truncation()
    return pipeline
