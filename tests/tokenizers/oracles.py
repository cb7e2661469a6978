"""Programs that we did not write, built over the vocabulary of one of our tokenizers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer as Library
from tokenizers import models, normalizers, pre_tokenizers

from uer.tokenizers.base import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def bert_library(index: dict[str, int], lowercase: bool) -> Library:
    """`tokenizers`' BERT over token → id, with our limit on long words."""
    library = Library(models.WordPiece(index, unk_token="[UNK]", max_input_chars_per_word=200))
    library.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return library


def bpe_library(index: dict[str, int], merges: list[tuple[str, str]], unk: str) -> Library:
    """`tokenizers`' byte-level BPE over token → id."""
    library = Library(models.BPE(index, merges, unk_token=unk))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return library


def assert_same(ours: Tokenizer, library: Library, texts: Sequence[str]) -> np.ndarray:
    """Our ids equal the library's for each text; returns all of ours."""
    ids, offsets = ours.encode_batch(texts)
    assert ids.dtype == np.int32 and offsets.dtype == np.int64
    assert offsets[0] == 0 and offsets[-1] == len(ids) and len(offsets) == len(texts) + 1
    theirs = library.encode_batch_fast(list(texts), add_special_tokens=False)
    for number, (text, expected) in enumerate(zip(texts, theirs)):
        got = ids[offsets[number] : offsets[number + 1]].tolist()
        if got != expected.ids:
            codes = " ".join(f"U+{ord(char):04X}" for char in text[:40])
            raise AssertionError(f"{text[:80]!r} ({codes}): ours {got[:40]}, theirs {expected.ids[:40]}")
    return ids
