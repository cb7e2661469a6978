"""Byte-level BPE against `tokenizers` and GPT-2's tokenizer of `transformers`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizers.oracles import assert_same, bpe_library
from uer.errors import DataError
from uer.tokenizers import bert_chars, build_tokenizer, char_tables, words
from uer.tokenizers.bpe import BpeTokenizer, byte_letters
from uer.tokenizers.special import XLMR
from uer.tokenizers.vocab import Vocab

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MERGES = ["Ġ t", "h e", "Ġt he", "' s", "r e", "l l", "Ġ Ġ", "a a", "' re"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> BpeTokenizer:
    """A small model whose vocabulary holds every byte, so that each word shows where it begins and ends."""
    path = tmp_path_factory.mktemp("bpe") / "merges.txt"
    path.write_text("#version: 0.2\n" + "".join(f"{merge}\n" for merge in MERGES), encoding="utf-8")
    merged = [merge.replace(" ", "") for merge in MERGES]
    return BpeTokenizer(Vocab([*SPECIAL, *byte_letters().values(), *merged]), merges_path=path)


@pytest.fixture(scope="module")
def real(shared: Path) -> BpeTokenizer:
    models = shared / "data/models"
    return build_tokenizer(
        "bpe",
        vocab_path=models / "huggingface_gpt2_vocab.txt",
        merges_path=models / "huggingface_gpt2_merges.txt",
    )


def corpus(shared: Path, name: str) -> list[str]:
    return (shared / "data/corpora" / name).read_text(encoding="utf-8").split("\n")


def test_real_corpora(shared: Path, real: BpeTokenizer) -> None:
    library = bpe_library(real.vocab.index, real.merges, "<unk>")
    lines = corpus(shared, "news-commentary-v13-en-zh_sampled.txt")
    ids = assert_same(real, library, [*lines, "\n".join(lines), *corpus(shared, "book_review_cls.txt")[:500]])
    assert real.special == XLMR and not (ids == real.unk_id).any()


def test_transformers_agrees(shared: Path, real: BpeTokenizer) -> None:
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer(vocab=real.vocab.index, merges=real.merges)
    lines = corpus(shared, "news-commentary-v13-en-zh_sampled.txt")[:200]
    expected = [theirs(line)["input_ids"] for line in lines]
    assert len({number for row in expected for number in row}) > 1000
    assert [real.encode(line) for line in lines] == expected


TRICKY = st.sampled_from(
    ["'s", "'re", "'ll", "'S", "''", " '", "the", " the", "  ", "\n", " \n ", "\u00a0", "1", "٣", "é"]
)
ALPHABET = st.one_of(
    st.characters(exclude_categories=["Cs"]), st.sampled_from(" '\tstlmdrev1!中\u3000\u0301\u2028\x85")
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.text(ALPHABET, max_size=20), st.lists(TRICKY, max_size=12).map("".join)), max_size=6
    )
)
def test_random_unicode(toy: BpeTokenizer, texts: list[str]) -> None:
    assert_same(toy, bpe_library(toy.vocab.index, toy.merges, "<unk>"), texts)


def class_borders() -> list[int]:
    starts = bert_chars.unpack(char_tables.GPT2)[0]
    return sorted(
        {
            code
            for start in starts.tolist()
            for code in (start, max(start - 1, 0))
            if not 0xD800 <= code < 0xE000
        }
    )


def around(codes: list[int]) -> list[str]:
    return [
        text
        for code in codes
        for text in (f"a{chr(code)}1{chr(code)}!{chr(code)} {chr(code)}", f"'s{chr(code)}'s")
    ]


def test_class_borders(toy: BpeTokenizer) -> None:
    assert_same(toy, bpe_library(toy.vocab.index, toy.merges, "<unk>"), around(class_borders()))


@pytest.mark.slow
def test_all_code_points(toy: BpeTokenizer) -> None:
    library = bpe_library(toy.vocab.index, toy.merges, "<unk>")
    for start in range(0, 0x110000, 0x8000):
        codes = [code for code in range(start, start + 0x8000) if not 0xD800 <= code < 0xE000]
        assert_same(toy, library, around(codes))


@pytest.mark.parametrize("block", [1, 4, 30, 1000])
def test_blocks_do_not_show(toy: BpeTokenizer, monkeypatch, block: int) -> None:
    texts = [
        "it's the  end\n\n of 'the' world, 're  \t x1y2中文 the",
        "",
        " ",
        "aaaa" * 50,
        "the 're " * 40,
        "'s" * 60,
    ]
    expected = [toy.encode(text) for text in texts]
    monkeypatch.setattr(words, "BLOCK", block)
    assert [toy.encode(text) for text in texts] == expected


def test_examples(toy: BpeTokenizer) -> None:
    assert toy.tokenize(" the he's") == ["Ġthe", "Ġ", "he", "'s"]
    assert toy.tokenize("") == []
    text = " the café  中\ud800 \0 </s>\n"
    assert toy.decode(toy.encode(text)) == text.replace("\ud800", "\ufffd")
    assert toy.decode([0, *toy.encode(" the"), 3, 2, 1]) == " the<unk>"


def test_a_byte_that_the_vocabulary_lacks_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "merges.txt"
    path.write_text("a b\n", encoding="utf-8")
    ours = BpeTokenizer(Vocab([*SPECIAL, "a", "b", "ab"]), merges_path=path)
    assert ours.tokenize("abxa") == ["ab", "<unk>", "a"]
    assert ours.merges == [("a", "b")]  # without a #version line the first line is a merge


@pytest.mark.parametrize(
    "content, message",
    [
        ("#version: 0.2\na b\na\n", ":3: 'a' is not two pieces with a blank between them"),
        ("a b c\n", ":1: 'a b c' is not two pieces"),
        ("a b\nb a\n", ":2: 'ba' is not in the vocabulary"),
        ("a z\n", ":1: 'z' is not in the vocabulary"),
        ("#version: 0.2\n\n", "holds no merges"),
    ],
)
def test_faults(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "merges.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        BpeTokenizer(Vocab([*SPECIAL, "a", "b", "ab"]), merges_path=path)
    assert message in str(caught.value)


def test_missing_merges(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        BpeTokenizer(Vocab(SPECIAL), merges_path=tmp_path / "huggingface_gpt2_merges.txt")
    assert "--merges_path" in str(caught.value) and "scripts/download.py" in str(caught.value)
