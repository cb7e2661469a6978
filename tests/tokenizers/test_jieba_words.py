"""WoBERT's tokenizer against its rule: words of jieba in the vocabulary, else pieces of BERT."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import jieba
import pytest
from transformers import BertTokenizer as Theirs

from uer.tokenizers import build_tokenizer, load_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["中国", "北京", "大学", "喜欢", "我们", "deep", "learning"]
CHARS = [*"我们爱北京天安门在大学里喜欢学习的中国人，。!", "de", "##ep", "a", "##b", "cafe", "3", "##5"]
TEXTS = [
    "我们在北京大学里学习，喜欢Deep Learning。",
    "中国人 爱  天安门!",
    "我爱北京天安门",
    "Café 35 ab 未知的字龘",
    "[MASK] 在\u0000北京",
    "",
    " \n\t",
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys([*SPECIAL, *WORDS, *CHARS])) + "\n", encoding="utf-8")
    return path


def reference(path, text, lower):
    """bert4keras: normalise, cut, look up, else WordPiece."""
    theirs = Theirs(str(path), do_lower_case=lower)
    text = text.replace("\u0000", "")
    if lower:
        decomposed = unicodedata.normalize("NFD", text.lower())
        text = "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
    vocab = theirs.get_vocab()
    tokens = []
    for word in jieba.cut(text, HMM=False):
        tokens += [word] if word in vocab else theirs.tokenize(word)
    return theirs.convert_tokens_to_ids(tokens)


@pytest.mark.parametrize("lower", [True, False])
def test_same_ids(path, lower):
    tokenizer = build_tokenizer("jieba", vocab_path=path, do_lower_case=lower)
    for text in TEXTS:
        assert tokenizer.encode(text) == reference(path, text, lower), text
    ids, ends = tokenizer.encode_batch(TEXTS)
    assert [ids[a:b].tolist() for a, b in pairwise(ends)] == [tokenizer.encode(text) for text in TEXTS]


def test_words_are_one_token(path):
    tokenizer = build_tokenizer("jieba", vocab_path=path)
    assert tokenizer.tokenize("我们喜欢北京") == ["我们", "喜欢", "北京"]
    plain = build_tokenizer("bert", vocab_path=path)
    assert plain.tokenize("我们喜欢北京") != ["我们", "喜欢", "北京"]


def test_saved_and_loaded(path, tmp_path):
    tokenizer = build_tokenizer("jieba", vocab_path=path, do_lower_case=False)
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.name == "jieba" and again.encode("我们爱北京 Deep") == tokenizer.encode("我们爱北京 Deep")
    assert again.fingerprint() == tokenizer.fingerprint()
