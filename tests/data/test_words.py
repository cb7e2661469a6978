"""Where words begin, in every kind of vocabulary; whole-word masking from text to batch."""

import numpy as np
import pytest

from uer.config.preprocess import MaskingOptions
from uer.data import words
from uer.data.batch import IGNORE
from uer.data.chinese import chinese_words
from uer.data.masking import run_begins
from uer.data.pretrain_data import PretrainData
from uer.data.words import WordFinder
from uer.errors import DataError, EnvironmentFault
from uer.tokenizers import build_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = "中国甘肃网7月20日讯据兰州日报报道，playing games unaffable。日前从公交集团获悉"


@pytest.fixture
def bert(tmp_path):
    chars = sorted({char for char in TEXT if "一" <= char <= "鿿"})
    extra = ["##ing", "##s", "##aff", "##able", "##月", "play", "game", "un", "7", "20", "，", "。"]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, *chars, *extra, *"日讯"]) + "\n", encoding="utf-8")
    return build_tokenizer("bert", vocab_path=path)


def cut(tokenizer, text):
    ids = np.array(tokenizer.encode(text))
    tokens, begins = tokenizer.convert_ids_to_tokens(ids), WordFinder(tokenizer)(ids)
    assert begins.dtype == np.uint8 and begins[0] == 1
    out = []
    for token, begin in zip(tokens, begins):
        out[-1:] = [*out[-1:], token] if begin else [out[-1] + " " + token]
    return out


def test_word_pieces_and_jieba(bert):
    import jieba

    found = cut(bert, TEXT)
    assert found[-1 - len(list(jieba.cut("日前从公交集团获悉"))) :][1:] == [
        " ".join(word) for word in jieba.cut("日前从公交集团获悉")
    ]
    assert [word for word in found if word[0] in "pgu"] == ["play ##ing", "game ##s", "un ##aff ##able"]
    assert "中 国" in found and "公 交" in found and "，" in found


def test_other_vocabularies(tmp_path):
    (tmp_path / "chars.txt").write_text("\n".join([*SPECIAL, *"中国abc1, "]) + "\n")
    char = build_tokenizer("char", vocab_path=tmp_path / "chars.txt")
    assert cut(char, "ab c1,中国a") == ["a b", "[UNK]", "c 1", ",", "中 国", "a"]
    (tmp_path / "words.txt").write_text("\n".join([*SPECIAL, "中国", "人", "ab"]) + "\n")
    space = build_tokenizer("space", vocab_path=tmp_path / "words.txt")
    assert cut(space, "中国 人 ab ab") == ["中国", "人", "ab", "ab"]


def test_sentencepiece(shared):
    models = shared / "data" / "models"
    spm = build_tokenizer("bert", spm_model_path=models / "cluecorpussmall_spm.model")
    found = cut(spm, "兰州公交集团 playing")
    assert "".join(found).replace(" ", "").replace("▁", "") == "兰州公交集团playing"
    assert len([word for word in found if any("a" <= char <= "z" for char in word)]) == 1


def test_blocks_are_joined(bert, monkeypatch):
    ids = np.array(bert.encode(TEXT * 5))
    whole = WordFinder(bert)(ids)
    monkeypatch.setattr(words, "BLOCK", len(bert.encode(TEXT)))
    assert np.array_equal(WordFinder(bert)(ids), whole)
    assert len(WordFinder(bert)(ids[:0])) == 0


def hidden_words(batch, store_words, store):
    """Of each row: are words hidden whole? Uses the borders of the dataset."""
    labels = batch.labels["mlm"]
    chosen = labels != IGNORE
    original = np.where(chosen, labels, batch.inputs["src"])
    starts, lengths = store["start"][batch.ids], store["length"][batch.ids]
    for row, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist())):
        assert original[row, :length].tolist() == store["tokens"][start : start + length].tolist()
        begins = store_words[start : start + length].astype(bool)
        free = original[row, :length] > 4
        begins = (begins | run_begins(free[None])[0]) & free
        inside = free[1:] & ~begins[1:]
        assert np.array_equal(chosen[row, 1:length][inside], chosen[row, : length - 1][inside])
    return int(chosen.sum())


def test_whole_words_from_text_to_batch(make, bert, tmp_path):
    corpus = "\n".join([TEXT] * 40)
    masking = MaskingOptions(whole_word_masking=True)
    static = make(corpus, "mlm", tokenizer=bert, whole_word_masking=True, dup_factor=2)
    assert hidden_words(PretrainData(static, batch_size=40).get(0), static["word"], static)
    stored = make(
        corpus, "mlm", tokenizer=bert, whole_word_masking=True, dynamic_masking=True, name="stored.pt"
    )
    assert hidden_words(PretrainData(stored, batch_size=40, masking=masking).get(0), stored["word"], stored)
    plain = make(corpus, "mlm", tokenizer=bert, dynamic_masking=True, name="plain.pt")
    assert "word" not in plain
    data = PretrainData(plain, batch_size=40, masking=masking, tokenizer=bert)
    beside = words.words_of(plain, None)  # made by the line above
    assert np.array_equal(beside, stored["word"]) and (tmp_path / "plain.pt.words").is_file()
    assert hidden_words(data.get(0), beside, plain)
    assert not list(tmp_path.glob(".*lock"))


@pytest.mark.parametrize("processor", ["bert", "albert", "t5", "bart", "cls_mlm"])
def test_every_objective_that_hides_tokens_can_hide_words(make, bert, tmp_path, processor):
    if processor == "t5":
        (tmp_path / "s.txt").write_text(
            "\n".join([*bert.vocab.tokens, "<extra_id_0>", "<extra_id_1>", "<extra_id_2>"])
        )
        bert = build_tokenizer("bert", vocab_path=tmp_path / "s.txt")
    labelled = processor == "cls_mlm"
    corpus = "\n".join([f"1\t{TEXT}"] * 20) if labelled else "\n\n".join([f"{TEXT}\n{TEXT}\n{TEXT}"] * 10)
    flags = {"whole_word_masking": True, "seq_length": 64}
    for more in ({}, {"dynamic_masking": True}):
        store = make(corpus, processor, tokenizer=bert, **flags, **more)
        assert len(store["word"]) == len(store["tokens"])
        masking = MaskingOptions(whole_word_masking=True)
        assert sum(PretrainData(store, batch_size=4, masking=masking).get(0).counts.values()) > 0


def test_a_file_of_another_dataset_is_not_used(make, bert, tmp_path):
    plain = make(TEXT, "mlm", tokenizer=bert, dynamic_masking=True)
    words.words_of(plain, bert)
    other = make(TEXT + "\n" + TEXT, "mlm", tokenizer=bert, dynamic_masking=True)
    assert len(words.words_of(other, bert)) == len(other["tokens"])
    (tmp_path / "dataset.pt.words").write_bytes(b"damaged")
    with pytest.raises(DataError, match="needs the borders of words, which the dataset lacks"):
        words.words_of(other, None)


def test_jieba_is_missing(bert, monkeypatch):
    import sys

    chinese_words.cache_clear()
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'uer\[words\]'"):
        cut(bert, TEXT)
    assert cut(bert, "playing games") == ["play ##ing", "game ##s"]
