"""BERT's tokenizer against `tokenizers` and `transformers`: all code points, real corpora, random Unicode."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.normalizers import BertNormalizer

from tests.tokenizers.oracles import SPECIAL, assert_same, bert_library
from uer.tokenizers import bert_chars, build_tokenizer, char_tables, make_char_tables, words
from uer.tokenizers.bert import BertTokenizer
from uer.tokenizers.vocab import Vocab

CORPORA = (
    "CLUECorpusSmall_sampled.txt",
    "CLUECorpusSmall_bert_sampled.txt",
    "book_review_cls.txt",
    "news-commentary-v13-en-zh_sampled.txt",
)
# Marks of several combining classes, a virama, Hangul tones, joiners, the sign that NFD takes apart.
MARKS = "\u0301\u0323\u0338\u302e\u1b44\u200d\u0345"


def tokenizer_for(texts: list[str], lowercase: bool) -> BertTokenizer:
    """A tokenizer whose vocabulary holds every character that these texts become, first or inside a word."""
    normalizer = BertNormalizer(lowercase=lowercase)
    chars = sorted({char for text in texts for char in normalizer.normalize_str(text) if char != " "})
    return BertTokenizer(Vocab(SPECIAL + chars + [f"##{char}" for char in chars]), do_lower_case=lowercase)


def contexts(codes: list[int], marks: str = MARKS) -> list[str]:
    """Texts that put each code point alone, in a word, beside itself and beside marks."""
    out = []
    for code in codes:
        char = chr(code)
        out += [char, f"a{char}b", f"가{char}{char}é", f"e\u0301{char}\u302e{char}\u0323"]
        out += [f"{mark}{char}{mark}a" for mark in marks]
    return out


def remarkable() -> list[int]:
    """Code points at the borders of the tables' runs, and those that become several or move."""
    out: set[int] = set()
    for packed in (char_tables.LOWER, char_tables.CASED):
        starts = bert_chars.unpack(packed)[0]
        out.update(starts.tolist(), (starts - 1).tolist())
    table = bert_chars.load(True)
    out.update(code for code in table.expand_codes.tolist() if not 0xAC10 < code < 0xD790)
    out.update(np.flatnonzero(table.classes == bert_chars.MOVES).tolist())
    return sorted(code for code in out if code >= 0 and not 0xD800 <= code < 0xE000)


@pytest.mark.parametrize("lowercase", [True, False])
def test_remarkable_code_points(lowercase: bool) -> None:
    texts = contexts(remarkable())
    ours = tokenizer_for(texts, lowercase)
    ids = assert_same(ours, bert_library(ours.vocab.index, lowercase), texts)
    assert (ids == ours.unk_id).mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("lowercase", [True, False])
def test_all_code_points(lowercase: bool) -> None:
    for start in range(0, 0x110000, 0x4000):
        codes = [code for code in range(start, start + 0x4000) if not 0xD800 <= code < 0xE000]
        texts = contexts(codes, marks="\u302e")
        ours = tokenizer_for(texts, lowercase)
        assert_same(ours, bert_library(ours.vocab.index, lowercase), texts)


@pytest.mark.parametrize("lowercase", [True, False])
def test_table_is_what_the_library_does(lowercase: bool) -> None:
    """A sample of the code points and all remarkable ones; `--check` compares all."""
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer, splitter, table = (
        BertNormalizer(lowercase=lowercase),
        BertPreTokenizer(),
        bert_chars.load(lowercase),
    )
    for code in remarkable() + random.Random(0).sample(range(0xE000, 0x110000), 5000):
        kind, result = make_char_tables.classify(normalizer, splitter, chr(code))
        if table.classes[code] != bert_chars.MOVES:
            assert (code, table.classes[code]) == (code, kind)
        if len(result) == 1 and kind in (bert_chars.ALONE, bert_chars.LETTER):
            assert chr(table.letters[code]) == result


@pytest.mark.slow
def test_committed_tables_are_the_generated_ones() -> None:
    assert make_char_tables.main(["--check"]) == 0


@pytest.mark.parametrize(
    "name, lowercase",
    [
        ("google_zh_vocab.txt", True),
        ("google_zh_vocab.txt", False),
        ("google_uncased_en_vocab.txt", True),
        ("google_cased_en_vocab.txt", False),
    ],
)
def test_real_corpora(shared, name: str, lowercase: bool) -> None:
    ours = build_tokenizer("bert", vocab_path=shared / "data/models" / name, do_lower_case=lowercase)
    library = bert_library(ours.vocab.index, lowercase)
    for corpus in CORPORA:
        lines = (shared / "data/corpora" / corpus).read_text(encoding="utf-8").split("\n")[::10]
        ids = assert_same(ours, library, lines)
        assert (ids == ours.unk_id).mean() < 0.8


def test_transformers_agrees(shared) -> None:
    from transformers import BertTokenizer as Theirs

    ours = build_tokenizer("bert", vocab_path=shared / "data/models/google_zh_vocab.txt")
    theirs = Theirs(vocab=ours.vocab.index, do_lower_case=True)
    lines = (shared / "data/corpora/book_review_cls.txt").read_text(encoding="utf-8").split("\n")[:300]
    expected = [theirs(line, add_special_tokens=False)["input_ids"] for line in lines]
    flat = [number for row in expected for number in row]
    assert flat.count(ours.unk_id) < 0.05 * len(flat)
    assert [ours.encode(line) for line in lines] == expected


ALPHABET = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("aZéİßΣςǅﬁ가각힣中，。!-_'\t\n\r\u00a0\u3000\u200b\ufeff\0\ufffd豈\u0130" + MARKS),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(ALPHABET, max_size=30), max_size=6), st.booleans())
def test_random_unicode(texts: list[str], lowercase: bool) -> None:
    ours = tokenizer_for(texts, lowercase)
    assert_same(ours, bert_library(ours.vocab.index, lowercase), texts)


@pytest.mark.slow
def test_a_million_random_strings(shared) -> None:
    ours = build_tokenizer("bert", vocab_path=shared / "data/models/google_zh_vocab.txt")
    library = bert_library(ours.vocab.index, True)
    rng = random.Random(1)
    ranges = [(0, 0x250), (0x250, 0x2000), (0x2000, 0x3400), (0x4E00, 0xA000), (0xA000, 0xD800)]
    ranges += [(0xE000, 0x10000), (0x10000, 0x20000), (0x20000, 0x110000), (0x300, 0x370), (0x41, 0x7B)]

    def text() -> str:
        low, high = rng.choice(ranges)
        return "".join(
            chr(rng.randrange(low, high)) if rng.random() < 0.7 else rng.choice("aé 中，" + MARKS)
            for _ in range(rng.randrange(12))
        )

    for _ in range(50):
        assert_same(ours, library, [text() for _ in range(20_000)])


def toy(
    tokens: str = "un ##able ##a want ##want ##ed runn ##ing , low lower ##er 中 国 [ ] cls",
) -> BertTokenizer:
    return BertTokenizer(Vocab(SPECIAL + tokens.split()))


def test_word_pieces() -> None:
    ours = toy()
    assert ours.tokenize("UNwantéd,running") == ["un", "##want", "##ed", ",", "runn", "##ing"]
    assert ours.tokenize("lowerer 中国 unwantedX") == ["lower", "##er", "中", "国", "[UNK]"]
    assert ours.encode("") == [] and ours.encode(" \t\n\0\u200b") == []


def test_words_over_200_characters_are_unknown() -> None:
    ours = BertTokenizer(Vocab([*SPECIAL, "a", "##a"]))
    assert ours.tokenize("a" * 200) == ["a"] + ["##a"] * 199
    assert ours.tokenize("a" * 201) == ["[UNK]"]
    assert ours.tokenize("b" + "a" * 100) == ["[UNK]"]


def test_special_tokens_in_a_text_are_text() -> None:
    assert toy().tokenize("[CLS] 中 [MASK]") == ["[", "cls", "]", "中", "[", "[UNK]", "]"]


def test_lone_surrogates_vanish() -> None:
    assert toy().tokenize("un\ud800want\udfffed 中\ud83d国") == ["un", "##want", "##ed", "中", "国"]
    # Beside a mark that canonical ordering moves, too.
    assert toy().tokenize("中\ud800\u302e国") == ["中", "[UNK]", "国"]


def test_batches_of_any_shape() -> None:
    ours = toy()
    ids, offsets = ours.encode_batch([])
    assert ids.size == 0 and offsets.tolist() == [0]
    texts = ["", "unwanted", " ", "中국", "", "low,er", ""]
    ids, offsets = ours.encode_batch(texts)
    rows = [ids[start:stop].tolist() for start, stop in pairwise(offsets)]
    assert rows == [ours.encode(text) for text in texts]


@pytest.mark.parametrize("block", [1, 5, 64, 1000])
def test_blocks_do_not_show(shared, monkeypatch, block: int) -> None:
    """Wherever texts are parted into blocks and long ones are cut, ids are the same."""
    lines = (shared / "data/corpora" / CORPORA[3]).read_text(encoding="utf-8").split("\n")[:60]
    texts = [*lines, "\n".join(lines), "", "ᬆ\u302e\u1b44 가각" * 50, "x" * 500, "é\u0301" * 300]
    ours = build_tokenizer("bert", vocab_path=shared / "data/models/google_zh_vocab.txt")
    expected = ours.encode_batch(texts)
    monkeypatch.setattr(words, "BLOCK", block)
    for got, wanted in zip(ours.encode_batch(texts), expected):
        np.testing.assert_array_equal(got, wanted)


def test_memory_of_words_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(words, "MOST_WORDS", 10)
    monkeypatch.setattr(words, "BLOCK", 20)
    ours = BertTokenizer(Vocab([*SPECIAL, *"0123456789", *(f"##{digit}" for digit in range(10))]))
    texts = [f"{number} {number + 1}" for number in range(200)]
    ids, offsets = ours.encode_batch(texts)
    assert [ours.decode(ids[a:b]) for a, b in pairwise(offsets)] == texts
    assert len(ours._words) < 30


def test_decoding_is_readable() -> None:
    tokens = "un ##want ##ed 中 国 , . 3 5 ( ) it ' s hello"
    ours = BertTokenizer(Vocab(SPECIAL + tokens.split()))

    def decode(text: str, skip: bool = True) -> str:
        return ours.decode(ours.convert_tokens_to_ids(text.split()), skip)

    assert decode("[CLS] hello un ##want ##ed , it ' s 中 国 . [SEP] [PAD]") == "hello unwanted, it's中国."
    assert decode("hello ( 3 . 5 ) hello 3 , 5") == "hello (3.5) hello 3,5"
    assert decode("[CLS] hello [MASK] [UNK]", skip=False) == "[CLS] hello [MASK] [UNK]"
    assert decode("hello what") == "hello [UNK]"
    assert decode("##ed ##ed") == "##eded"
