"""Tokenizers of the zoo that no pipeline of the `tokenizers` library has, and files that PaddleNLP names in
its own way: the ids of the programs they come from.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertJapaneseTokenizer, BertTokenizer

from tests.checkpoints.folders import BRACKETS, WORDS, sentence_piece
from uer.checkpoints import read_companion
from uer.errors import ConfigError, DataError
from uer.tasks.rows import encode_texts
from uer.tokenizers import build_tokenizer, load_tokenizer
from uer.tokenizers.ernie import ErnieMTokenizer
from uer.tokenizers.mecab_words import MecabTokenizer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tokenizers" / "paddlenlp.json").read_text())
TEXTS = [
    "我很喜欢这本书。the good book",
    "  Ａ very bad book！12本34 ，２００９年",
    "a中b：《好》 3.5%",
    "未知的字龘 naïve\tbook\n",
    "",
    " ",
    "不好[MASK]书 [SEP]a",
]
ALONE = set(",;:.?!~，；：。？！《》【】")


def ids_of(tokenizer, first, second=None):
    row = {"text_a": first} if second is None else {"text_a": first, "text_b": second}
    return encode_texts(tokenizer, [row], seq_length=400).ids.tolist()


def saved_and_loaded(tokenizer, folder):
    tokenizer.save(folder)
    again = load_tokenizer(folder)
    assert again.fingerprint() == tokenizer.fingerprint() and again.frame == tokenizer.frame
    assert len(again) == len(tokenizer)
    return again


@pytest.fixture
def ernie_m(tmp_path):
    """A folder of ERNIE-M: the pieces in an order of their own between the special tokens."""
    model = sentencepiece.SentencePieceProcessor(model_proto=sentence_piece())
    pieces = [model.id_to_piece(n) for n in range(3, model.vocab_size())]
    more = [*"0123456789,.!：《》", "▁a", "中"]
    tokens = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *dict.fromkeys([*pieces[::-1], *more]), "[MASK]"]
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    (tmp_path / "sentencepiece.bpe.model").write_bytes(sentence_piece())
    values = {"architectures": ["ErnieMModel"], "paddlenlp_version": "2", "vocab_size": len(tokens) + 3}
    (tmp_path / "config.json").write_text(json.dumps(values))
    return tmp_path, model, tokens


def pieces_apart(piece):
    """The rule, said otherwise: runs of digits and of others, and what stands alone."""
    out, number = [], itertools.count()

    def kind(char):
        if char in ALONE or "\u4e00" <= char <= "\u9fff":
            return next(number)
        return "digits" if char.isdigit() else "others"

    for _, group in itertools.groupby(piece, kind):
        out.append("".join(group))
    return [part for part in out if part != "▁"]


def test_ernie_m_cuts_pieces_as_paddlenlp(ernie_m, monkeypatch):
    tokenizer = load_tokenizer(ernie_m[0])
    for case in GOLDEN["ernie_m"]:
        monkeypatch.setattr(tokenizer.model, "encode", lambda texts, kind, case=case: [case["pieces"]])
        assert tokenizer.cut("") == case["tokens"], case


def test_ernie_m_ids_and_frame(ernie_m, tmp_path):
    folder, model, tokens = ernie_m
    tokenizer = load_tokenizer(folder)
    assert type(tokenizer) is ErnieMTokenizer and len(tokenizer) == len(tokens) + 3
    index = {token: number for number, token in enumerate(tokens)}
    for text in TEXTS[:-1]:
        parts = [part for piece in model.encode(text, out_type=str) for part in pieces_apart(piece)]
        assert tokenizer.encode(text) == [index.get(part, index["[UNK]"]) for part in parts], text
    assert tokenizer.encode(TEXTS[-1])[2] == index["[MASK]"]
    first, second = tokenizer.encode("good"), tokenizer.encode("书")
    cls, sep = index["[CLS]"], index["[SEP]"]
    assert ids_of(tokenizer, "good") == [cls, *first, sep]
    assert ids_of(tokenizer, "good", "书") == [cls, *first, sep, sep, *second, sep]
    names = {7: cls, 9: sep, 1: 1, 2: 2, 3: 3}
    one, two = ([names[number] for number in frame] for frame in GOLDEN["ernie_m_frames"])
    assert one == [cls, 1, 2, sep] and two == [cls, 1, 2, sep, sep, 3, sep]
    again = saved_and_loaded(tokenizer, tmp_path / "saved")
    assert again.encode_batch(TEXTS)[0].tolist() == tokenizer.encode_batch(TEXTS)[0].tolist()
    assert tokenizer.decode(tokenizer.encode("very book")) == "very book"
    companion = read_companion(folder)
    assert companion.tokenizer == folder and companion.config.max_seq_length == 512


def test_ernie_m_by_flags(ernie_m):
    folder = ernie_m[0]
    files = {"vocab_path": folder / "vocab.txt", "spm_model_path": folder / "sentencepiece.bpe.model"}
    ours = build_tokenizer("ernie_m", **files, do_lower_case=False)
    theirs = load_tokenizer(folder)
    assert [ours.encode(text) for text in TEXTS] == [theirs.encode(text) for text in TEXTS]
    lower = build_tokenizer("ernie_m", **files, do_lower_case=True)
    assert lower.encode("GOOD [MASK]") == ours.encode("good [MASK]") != ours.encode("GOOD [MASK]")
    for name in ("ernie_m", "ernie_tiny"):
        with pytest.raises(ConfigError, match=f"--tokenizer {name} needs --vocab_path and --spm_model_path"):
            build_tokenizer(name, vocab_path=folder / "vocab.txt")


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("我很 书goda1２９，①½～\u3000é。"), max_size=20))
def test_ernie_m_knows_where_its_tokens_stand(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "ernie_m"
    folder.mkdir(exist_ok=True)
    model = sentencepiece.SentencePieceProcessor(model_proto=sentence_piece())
    pieces = [model.id_to_piece(n) for n in range(3, model.vocab_size())]
    (folder / "vocab.txt").write_text("\n".join([*BRACKETS, *pieces]) + "\n", encoding="utf-8")
    (folder / "sentencepiece.bpe.model").write_bytes(sentence_piece())
    tokenizer = load_tokenizer(folder)
    [(ids, places)] = tokenizer.encode_placed([text])
    assert ids.tolist() == tokenizer.encode(text) and places.shape == (len(ids), 2)
    assert (np.diff(places[:, 0]) >= 0).all() and (places[:, 1] > places[:, 0]).all()
    for token, (start, stop) in zip(tokenizer.tokenize(text), places):
        assert token.lstrip("▁") in "".join(unicodedata.normalize("NFKC", text[start:stop]).split()) or (
            "～" in text[start:stop]
        )


@pytest.fixture
def ernie_tiny(tmp_path):
    """A folder of ernie-tiny, its words as a list."""
    model = sentencepiece.SentencePieceProcessor(model_proto=sentence_piece())
    pieces = [model.id_to_piece(n) for n in range(3, model.vocab_size())]
    (tmp_path / "vocab.txt").write_text("\n".join([*BRACKETS, *pieces]) + "\n", encoding="utf-8")
    (tmp_path / "spm_cased_simp_sampled.model").write_bytes(sentence_piece())
    (tmp_path / "dict.wordseg.txt").write_text("\n".join(GOLDEN["ernie_tiny_words"]), encoding="utf-8")
    return tmp_path, model, [*BRACKETS, *pieces]


def test_ernie_tiny_cuts_words_as_paddlenlp(ernie_tiny, tmp_path):
    folder, model, tokens = ernie_tiny
    tokenizer = load_tokenizer(folder)
    for case in GOLDEN["ernie_tiny"]:
        pieces = model.encode(case["cut"] or "", out_type=str)
        expected = [tokens.index(piece) if piece in tokens else 1 for piece in pieces]
        assert tokenizer.encode(case["text"]) == expected, case
    assert ids_of(tokenizer, "good", "书") == [2, *tokenizer.encode("good"), 3, *tokenizer.encode("书"), 3]
    again = saved_and_loaded(tokenizer, tmp_path / "saved")
    assert again.words == tokenizer.words
    files = {
        "vocab_path": folder / "vocab.txt",
        "spm_model_path": folder / "spm_cased_simp_sampled.model",
    }
    assert build_tokenizer("ernie_tiny", **files).encode("我很Good") == tokenizer.encode("我很Good")


def test_ernie_tiny_opens_no_pickle(ernie_tiny):
    folder = ernie_tiny[0]
    (folder / "dict.wordseg.txt").rename(folder / "dict.wordseg.pickle")
    with pytest.raises(DataError, match=r"dict\.wordseg\.pickle is a pickle, which is not opened"):
        load_tokenizer(folder)
    (folder / "dict.wordseg.pickle").unlink()
    with pytest.raises(DataError, match="the list of words of ernie_tiny does not exist"):
        load_tokenizer(folder)


def skep(folder, name="SkepTokenizer"):
    values = {"architectures": ["SkepModel"], "paddlenlp_version": "2", "type_vocab_size": 0}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))


def test_skep_over_roberta_has_paddlenlps_ids(tmp_path):
    skep(tmp_path)
    index = {token: number for number, token in enumerate(GOLDEN["skep_tokens"])}
    (tmp_path / "encoder.json").write_text(json.dumps(index))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n" + "\n".join(GOLDEN["skep_merges"]) + "\n", "utf-8")
    (tmp_path / "vocab.txt").write_text("\n".join(index) + "\n", encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    for case in GOLDEN["skep"]:
        assert tokenizer.encode(case["text"]) == case["ids"], case
    first, second = tokenizer.encode("hello"), tokenizer.encode("the world")
    assert ids_of(tokenizer, "hello") == [0, *first, 2]
    assert ids_of(tokenizer, "hello", "the world") == [0, *first, 2, 2, *second, 2]
    saved_and_loaded(tokenizer, tmp_path / "saved")


def test_skep_over_ernie_is_berts(tmp_path):
    skep(tmp_path)
    tokens = [*BRACKETS, *WORDS]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    theirs = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
    assert len(set(theirs(TEXTS[0])["input_ids"])) > 6
    for text in TEXTS:
        assert ids_of(tokenizer, text) == theirs(text)["input_ids"], text
        assert ids_of(tokenizer, text, "book") == theirs(text, "book")["input_ids"]


def test_guwenbert_has_berts_words_in_robertas_model(tmp_path):
    """The padding token is number 1 there, as in RoBERTa, and what is put around texts is BERT's."""
    tokens = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *WORDS, "[MASK]"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    values = {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "pad_token_id": 1}
    values |= {"vocab_size": len(tokens), "max_position_embeddings": 66, "type_vocab_size": 1}
    (tmp_path / "config.json").write_text(json.dumps({**values, "tokenizer_class": "BertTokenizer"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    ours, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert ours.pad_id == theirs.pad_token_id == 1 and len(set(ours.encode(TEXTS[0]))) > 6
    for text in TEXTS:
        assert ids_of(ours, text) == theirs(text)["input_ids"], text
        assert ids_of(ours, text, "书") == theirs(text, "书")["input_ids"], text
    saved_and_loaded(ours, tmp_path / "saved")
    assert read_companion(tmp_path).config.max_seq_length == 64


JAPANESE = [
    "吾輩は猫である。名前はまだ無い。",
    "東京大学でMecabを使う、２０２０年 Ｔｏｋｙｏ",
    "すもももももももものうち",
    "ﾊﾝｶｸ カナ①㈱",
    "",
    "  空白 と\tタブ ",
    "猫[MASK]である[SEP]",
    "a" * 101,
]


@pytest.mark.parametrize("kind", ["wordpiece", "character"])
@pytest.mark.parametrize("lower", [False, True])
def test_bert_japanese(tmp_path, kind, lower):
    chars = sorted(
        {char for text in JAPANESE for char in unicodedata.normalize("NFKC", text) if char.strip()}
    )
    words = ["猫", "名前", "東京", "大学", "である", "もも", "です", "mecab", "Mecab", "20"]
    kept = [char for char in chars if char not in "すタ[]"]  # some are unknown
    tokens = [*BRACKETS, *dict.fromkeys([*words, *kept, *(f"##{char}" for char in kept)])]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    values = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "do_lower_case": lower,
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": kind,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    ours = load_tokenizer(tmp_path)
    assert isinstance(ours, MecabTokenizer) and ours.dictionary == "ipadic"
    theirs = BertJapaneseTokenizer(
        str(tmp_path / "vocab.txt"),
        do_lower_case=lower,
        word_tokenizer_type="mecab",
        subword_tokenizer_type=kind,
        mecab_kwargs={"mecab_dic": "ipadic"},
    )
    assert len(set(theirs(JAPANESE[0])["input_ids"])) > 6
    for text in JAPANESE:
        assert ids_of(ours, text) == theirs(text)["input_ids"], text
        assert ids_of(ours, text, "猫") == theirs(text, "猫")["input_ids"], text
    again = saved_and_loaded(ours, tmp_path / "saved")
    assert again.encode_batch(JAPANESE)[0].tolist() == ours.encode_batch(JAPANESE)[0].tolist()
    name = {"wordpiece": "mecab", "character": "mecab_char"}[kind]
    typed = build_tokenizer(name, vocab_path=tmp_path / "vocab.txt", do_lower_case=lower)
    assert typed.tokenize(JAPANESE[0]) == ours.tokenize(JAPANESE[0])


def test_japanese_that_is_cut_otherwise(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*BRACKETS, "猫"]) + "\n", encoding="utf-8")
    values = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "sudachi"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values))
    with pytest.raises(
        DataError, match="cuts text by 'sudachi' and words by 'wordpiece'; supported are mecab"
    ):
        load_tokenizer(tmp_path)
    with pytest.raises(ConfigError, match="--tokenizer mecab needs --vocab_path"):
        build_tokenizer("mecab")
