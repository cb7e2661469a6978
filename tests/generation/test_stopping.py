"""Stop strings: special tokens by id, all others in the text, also across tokens and within one."""

from __future__ import annotations

import pytest

from uer.generation.stopping import Stopping
from uer.tokenizers import build_tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "end", "##less", "你", "好", "。"]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("v") / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return build_tokenizer("bert", vocab_path=path)


def run(stopping, tokenizer, tokens):
    """Feed tokens one after the other; what is left when the text ends."""
    ids = []
    for number in tokenizer.convert_tokens_to_ids(tokens):
        ids.append(number)
        if stopping.met(ids):
            return stopping.cut(ids, True)
    return stopping.cut(ids, False)


@pytest.mark.parametrize(
    ("stops", "tokens", "text", "kept", "rest"),
    [
        ((), ["你", "好", "[SEP]", "。"], "你好。", 4, ""),
        (("[SEP]",), ["你", "好", "[SEP]", "。"], "你好", 2, ""),
        (("。",), ["你", "好", "。", "你"], "你好", 2, ""),
        (("好。", "[SEP]"), ["你", "好", "。"], "你", 1, ""),
        (("the end",), ["你", "the", "end", "好"], "你", 1, ""),
        (("less",), ["the", "end", "##less"], "the end", 2, ""),
        (("nd",), ["the", "end", "好"], "the e", 1, " e"),
        (("。", "好"), ["你", "你", "好"], "你你", 2, ""),
        (("s",), ["the", "end", "##less"], "the endle", 2, "le"),
    ],
)
def test_text_ends_in_front_of_the_string(words, stops, tokens, text, kept, rest):
    ended = run(Stopping(words, stops), words, tokens)
    assert (ended.text, len(ended.ids), ended.rest) == (text, kept, rest)


def test_a_string_met_before_the_shortest_length_does_not_cut(words):
    stopping = Stopping(words, ("好",))
    ids = words.convert_tokens_to_ids(["你", "好", "你", "好"])  # the first 好 was let pass
    assert stopping.met(ids) and stopping.cut(ids, True).text == "你好你"
    assert not stopping.met(ids[:3])
    stopping = Stopping(words, ("ss",))
    ids = words.convert_tokens_to_ids(["end", "##less", "##less", "##less"])
    assert stopping.cut(ids, True) == (ids[:3], "endlesslessle", "le")
    assert Stopping(words, ("s",)).cut(ids, True).text == "endlesslessle"


def test_characters_of_several_byte_tokens(shared, tmp_path):
    """A byte-level vocabulary spells 好 in three tokens, none of which is text alone."""
    models = shared / "data" / "models"
    vocab, merges = sorted(models.glob("*gpt2*vocab*")) + sorted(models.glob("*gpt2*merges*"))
    tokenizer = build_tokenizer("bpe", vocab_path=vocab, merges_path=merges)
    ids = tokenizer.encode("hello 你好 world")
    stopping = Stopping(tokenizer, ("你好",))
    for count in range(1, len(ids) + 1):
        if stopping.met(ids[:count]):
            break
    assert stopping.cut(ids[:count], True).text == "hello "
    assert tokenizer.decode(ids[:count]) == "hello 你好"


@pytest.mark.parametrize(
    ("stops", "tokens", "sure"),
    [
        ((), ["你", "好"], 2),
        (("[SEP]",), ["你", "好"], 2),
        (("好。",), ["你", "好"], 1),
        (("好。",), ["你", "好", "你"], 3),
        (("the end",), ["你", "the"], 1),
        (("lesson",), ["end", "##less"], 1),
    ],
)
def test_what_may_be_shown(words, stops, tokens, sure):
    ids = words.convert_tokens_to_ids(tokens)
    assert Stopping(words, stops).sure(ids) == ids[:sure]
