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
from uer.tokenizers.pipelines import JSON_NAME, surround
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
        names: the folder's own names of its special tokens (`eos_token`, …); None: those of our roles.
    """

    name = "folder"
    released = True

    def __init__(
        self,
        content: bytes,
        special: SpecialTokens,
        path: str | Path,
        *,
        size: int = 0,
        frame: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.pipeline = read_pipeline(content, path)
        self._content, self._names = content, dict(names or {})
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

    @property
    def names(self) -> dict[str, str]:
        """See `Tokenizer.names`."""
        return dict(self._names) or super().names

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

    def encode_words(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_words`; byte-level pipelines tell a word behind a blank from one without, and
        models are trained on the former.
        """
        return self.encode_batch([f" {word}" for word in words] if self._byte_level() else words)

    def _byte_level(self) -> bool:
        """Whether the pipeline keeps blanks as bytes and does not put one in front by itself."""
        first = json.loads(self._content).get("pre_tokenizer") or {}
        steps = first.get("pretokenizers", [first])
        return any(step.get("type") == "ByteLevel" and not step.get("add_prefix_space") for step in steps)

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

    def exported(self, *, types: bool) -> tokenizers.Tokenizer:
        """The pipeline as other programs are to have it: it puts around texts what we do.

        Args:
            types: the model tells first and second texts apart, so the pipeline must too.
        """
        around = (self._frame.before, self._frame.between, self._frame.after)
        silent = probed(self.pipeline) != around and any(around)
        alike = types and 1 not in self.pipeline.encode("a", "a").type_ids
        if not (silent or alike):
            return self.pipeline
        pipeline = read_pipeline(self._content, self.vocab.path)
        surround(pipeline, self)
        return pipeline

    def settings(self) -> dict[str, Any]:
        """What the files do not say: rows without a token, another frame than BERT's, names."""
        out: dict[str, Any] = {"size": self._rows} if self._rows else {}
        if self._frame != super().frame:
            out["frame"] = asdict(self._frame)
        return {**out, "names": dict(self._names)} if self._names else out

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


def probed(pipeline: tokenizers.Tokenizer) -> tuple[tuple[int, ...], ...] | None:
    """The ids that a pipeline puts before a text, between two, and behind; None when it puts none."""
    pair = pipeline.encode("a", "a")
    text = [place for place, number in enumerate(pair.sequence_ids) if number is not None]
    second = [place for place, number in enumerate(pair.sequence_ids) if number == 1]
    if not second or len(text) == len(pair.ids):
        return None
    first_ends = max(place for place in text if place < second[0]) + 1
    ids = tuple(pair.ids)
    return ids[: text[0]], ids[first_ends : second[0]], ids[second[-1] + 1 :]
