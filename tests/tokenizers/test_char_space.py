"""`char` and `space`: what UER's rules say, in plain Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizers.oracles import SPECIAL
from uer.tokenizers import build_tokenizer
from uer.tokenizers.char import CharTokenizer
from uer.tokenizers.space import SpaceTokenizer
from uer.tokenizers.vocab import Vocab

VOCAB = Vocab([*SPECIAL, "a", "A", "中", "😀", "ab", "", "é"])


@given(st.lists(st.text(st.one_of(st.sampled_from("aA中😀é \t\u3000\0\n"), st.characters())), max_size=5))
def test_char(texts: list[str]) -> None:
    ours = CharTokenizer(VOCAB)
    ids, offsets = ours.encode_batch(texts)
    for number, text in enumerate(texts):
        expected = [VOCAB.index.get(char, 1) for char in text.strip()]
        assert ids[offsets[number] : offsets[number + 1]].tolist() == expected == ours.encode(text)
    assert offsets[-1] == len(ids)


@given(st.lists(st.text(st.one_of(st.sampled_from("aAb中 \t\n"), st.characters())), max_size=5))
def test_space(texts: list[str]) -> None:
    ours = SpaceTokenizer(VOCAB)
    ids, offsets = ours.encode_batch(texts)
    for number, text in enumerate(texts):
        words = text.strip().split(" ") if text.strip() else []
        expected = [VOCAB.index.get(word, 1) for word in words]
        assert ids[offsets[number] : offsets[number + 1]].tolist() == expected == ours.encode(text)


def test_examples() -> None:
    char, space = CharTokenizer(VOCAB), SpaceTokenizer(VOCAB)
    assert char.tokenize(" a 中\ud800A ") == ["a", "[UNK]", "中", "[UNK]", "A"]
    assert char.decode(char.encode("aA中")) == "aA中"
    assert space.tokenize(" ab  [CLS] abc ") == ["ab", "[UNK]", "[CLS]", "[UNK]"]
    assert space.decode([8, 2, 5, 0]) == "😀 a"
    for ours in (char, space):
        assert ours.encode("") == ours.encode(" \n") == []
        ids, offsets = ours.encode_batch([])
        assert ids.size == 0 and ids.dtype == "int32" and offsets.tolist() == [0]


@pytest.mark.parametrize("name", ["char", "space"])
def test_pieces_of_a_model_as_vocabulary(shared: Path, name: str) -> None:
    ours = build_tokenizer(name, spm_model_path=shared / "data/models/cluecorpussmall_spm.model")
    assert len(ours) == 100_000 and (ours.pad_id, ours.unk_id, ours.cls_id, ours.mask_id) == (0, 1, 2, 4)
    text = "的 在" if name == "space" else "的在"
    assert ours.tokenize(text) == ["的", "在"] and ours.tokenize("\u0378") == ["[UNK]"]
