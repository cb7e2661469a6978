"""Chinese words by array operations are jieba's words, character for character."""

import random
from itertools import pairwise

import jieba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uer.data.chinese import FIRST, LAST, ChineseWords, TagModel, chinese_words, load_jieba

CORPORA = ["CLUECorpusSmall_sampled.txt", "book_review_cls.txt", "news-commentary-v13-en-zh_sampled.txt"]
# Words whose characters are tagged in every way, one character, no dictionary word, rare ones, no Chinese.
TEXTS = [
    "我来到北京清华大学",
    "他来到了网易杭研大厦",
    "小明硕士毕业于中国科学院计算所",
    "的",
    "丨丶丿亅",
    "\n",
    "",
]


def ours(text):
    codes = np.array([text]).view(np.uint32)[: len(text)] if text else np.zeros(0, np.uint32)
    begins = chinese_words()(codes)
    places = [*np.flatnonzero(begins).tolist(), len(text)]
    return [text[start:stop] for start, stop in pairwise(places)]


def theirs(text):
    """jieba's words; as in a dataset whatever is not Chinese stands alone."""
    only_chinese = "".join(char if FIRST <= ord(char) <= LAST else "\n" for char in text)
    at, out = 0, []
    for word in load_jieba().lcut(only_chinese):
        out.append(text[at : at + len(word)])
        at += len(word)
    return out


@pytest.mark.parametrize("text", TEXTS)
def test_examples(text):
    assert ours(text) == theirs(text)


def test_the_examples_need_dictionary_and_model():
    assert ours("我来到北京清华大学") == ["我", "来到", "北京", "清华大学"]
    assert "杭研" in ours("他来到了网易杭研大厦") and "杭研" not in jieba.dt.FREQ


@pytest.mark.parametrize("name", CORPORA)
def test_real_text(shared, name):
    text = (shared / "data/corpora" / name).read_text(encoding="utf-8")[:30_000]
    assert ours(text) == theirs(text)
    assert max(map(len, theirs(text))) > 3


def test_words_of_the_dictionary_at_random():
    load_jieba()
    rng = random.Random(0)
    words = rng.sample(sorted(jieba.dt.FREQ), 3000)
    text = "".join(word[: rng.randrange(1, 9)] + rng.choice(["", "", "，"]) for word in words)
    assert ours(text) == theirs(text)


@settings(max_examples=200, deadline=None)
@given(
    st.text(
        st.one_of(
            st.characters(min_codepoint=FIRST - 2, max_codepoint=LAST + 2),
            st.sampled_from("的一是了我a1\n㐀𠀀，"),
        ),
        max_size=40,
    )
)
def test_any_text(text):
    assert ours(text) == theirs(text)


def test_ties_and_a_prefix_that_is_no_word():
    """Of equally likely paths the longer word comes first; a mere beginning is no word."""
    jieba = load_jieba()
    model = jieba.finalseg
    tags = TagModel(model.start_P, model.trans_P, model.emit_P)
    frequencies = {"甲": 10, "甲乙": 1, "乙": 1, "丙": 0, "丙丁": 2, "丁": 3}
    dictionary = jieba.Tokenizer()
    dictionary.FREQ, dictionary.total, dictionary.initialized = frequencies, 10, True
    found = ChineseWords(frequencies, 10, tags)
    for text in ("甲乙", "甲甲乙", "丙丁", "丙", "乙丙", "丁丙丁甲乙"):
        begins = found(np.array([text]).view(np.uint32))
        assert (
            np.flatnonzero(begins).tolist() == np.cumsum([0, *map(len, dictionary.lcut(text))])[:-1].tolist()
        )
