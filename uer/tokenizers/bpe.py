"""GPT-2's byte-level BPE over a vocabulary file and a merges file (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.sentence_piece import flatten
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import sound
from uer.tokenizers.vocab import Vocab, read_text


class BpeTokenizer(Tokenizer):
    """Byte-level BPE, with the merges done by `tokenizers`.

    Args:
        vocab: the vocabulary, in GPT-2's byte letters (`Ġthe`).
        merges_path: the merges, two pieces a line; a `#version` line is skipped.
        special: the special tokens, None to find them in the vocabulary.

    Raises:
        DataError: the merges are missing, malformed, or make a piece that the vocabulary lacks.
    """

    name = "bpe"

    def __init__(
        self, vocab: Vocab, *, merges_path: str | Path, special: SpecialTokens | None = None
    ) -> None:
        from tokenizers import Tokenizer as Library
        from tokenizers import decoders, models, pre_tokenizers

        super().__init__(vocab, special)
        self.merges = read_merges(merges_path, vocab)
        model = models.BPE(vocab=vocab.index, merges=self.merges, unk_token=self.special.unk)
        self._library = Library(model)
        self._library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._decoder = decoders.ByteLevel()

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`; lone surrogates count as U+FFFD."""
        encodings = self._library.encode_batch_fast([sound(text) for text in texts], add_special_tokens=False)
        return flatten([encoding.ids for encoding in encodings])

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """The text whose bytes the tokens spell; special tokens stay as they are written."""
        special = frozenset(self.special.required().values())
        parts: list[str] = []
        run: list[str] = []
        for token in tokens:
            if token in special:
                parts += [self._decoder.decode(run), token]
                run = []
            else:
                run.append(token)
        return "".join([*parts, self._decoder.decode(run)])

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        lines = "".join(f"{left} {right}\n" for left, right in self.merges)
        return {
            "vocab_path": ("vocab.txt", self.vocab.content()),
            "merges_path": ("merges.txt", f"#version: 0.2\n{lines}".encode()),
        }


def read_merges(path: str | Path, vocab: Vocab) -> list[tuple[str, str]]:
    """The pairs of a merges file, each of which must make a piece of the vocabulary out of two others.

    Raises:
        DataError: missing, not UTF-8, a line that is not two pieces, or pieces that the vocabulary lacks.
    """
    merges = []
    for number, line in enumerate(read_text(path, "the merges file", "--merges_path").split("\n"), 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise DataError(
                f"'{line[:40]}' is not two pieces with a blank between them, as in 'Ġ t'; give the merges "
                "file that belongs to the vocabulary with --merges_path.",
                path=path,
                line=number,
            )
        lacking = next((piece for piece in (*pair, "".join(pair)) if piece not in vocab), None)
        if lacking is not None:
            raise DataError(
                f"'{lacking}' is not in the vocabulary {vocab.path}; --merges_path and --vocab_path do not "
                "belong together.",
                path=path,
                line=number,
            )
        merges.append((pair[0], pair[1]))
    if not merges:
        raise DataError("holds no merges; give a merges file with --merges_path.", path=path)
    return merges
