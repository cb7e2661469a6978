"""The same random GPT-2 twice, and a tokenizer for its ids."""

from __future__ import annotations

import pytest

from tests.generation import oracle
from uer.tokenizers import build_tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="package")
def gpt2():
    """Theirs."""
    return oracle.theirs()


@pytest.fixture(scope="package")
def model(gpt2):
    """Ours, with the same weights."""
    return oracle.ours(gpt2)


@pytest.fixture(scope="package")
def tokenizer(tmp_path_factory):
    """One character a token: id 5 is 一, 6 is 丁, …"""
    words = WORDS + [chr(0x4E00 + number) for number in range(oracle.VOCAB - len(WORDS))]
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return build_tokenizer("char", vocab_path=path)
