"""GPT-2's byte-level BPE over a vocabulary file and a merges file (Radford et al. 2019).

Words are found by array operations and looked up in a dictionary that remembers single words; the merges of a
word that is not there yet are done by `tokenizers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.gpt2_words import cut_place, word_bounds
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import join, sound
from uer.tokenizers.vocab import Vocab, read_text
from uer.tokenizers.words import WordMemory, encode_blocks


def byte_letters() -> dict[int, str]:
    """GPT-2's letter for each byte: itself where it is a visible Latin-1 character, or one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(0x100 + n) for n, byte in enumerate(hidden)}


class BytePieces(WordMemory):
    """Words to BPE ids.

    Args:
        model: the library's `models.BPE`.
        vocab_size: number of entries of the vocabulary.
    """

    def __init__(self, model: Any, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self._model, self._letters = model, byte_letters()

    def cut(self, word: str) -> list[int]:
        """The ids of a word's pieces."""
        spelt = word.encode("utf-8").decode("latin-1").translate(self._letters)
        return [piece.id for piece in self._model.tokenize(spelt)]


class BpeTokenizer(Tokenizer):
    """Byte-level BPE. Case and white space are kept; lone surrogates count as U+FFFD.

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
        from tokenizers import decoders, models

        super().__init__(vocab, special)
        self.merges = read_merges(merges_path, vocab)
        model = models.BPE(vocab=vocab.index, merges=self.merges, unk_token=self.special.unk)
        self._words = BytePieces(model, len(vocab))
        self._decoder = decoders.ByteLevel()

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        return encode_blocks(texts, self._encode_block, self._words, cut_place)

    def _encode_block(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a few texts, and the end of each text in them."""
        joined, codes, ends = join([sound(text) for text in texts])
        starts, stops = word_bounds(codes, ends)
        words = [joined[start:stop] for start, stop in zip(starts.tolist(), stops.tolist())]
        return self._words.expand(self._words.handles(words), np.searchsorted(starts, ends))

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
