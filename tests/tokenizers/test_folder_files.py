"""Vocabulary files of Hugging Face folders: the ids that `AutoTokenizer` makes of the same files."""

from __future__ import annotations

import json

import pytest

from tests.checkpoints.folders import FAMILIES, sentence_piece, vocabulary
from uer.errors import DataError
from uer.tasks.rows import encode_texts
from uer.tokenizers import load_tokenizer

TEXTS = [
    "The good Book. 我 很",
    "bad",
    "  a  b\tc",
    " naïve ``q'' 好 坏<mask>x",
    "Ａ １２",
    "",
    "喜欢<extra_id_0></s>[MASK]",
]


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_and_what_stands_around_them(family, tmp_path):
    from transformers import AutoTokenizer

    vocabulary(family, tmp_path)
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    for text in TEXTS:
        one = encode_texts(ours, [{"text_a": text}], seq_length=64)
        assert one.ids.tolist() == theirs(text)["input_ids"], text
        two = encode_texts(ours, [{"text_a": text, "text_b": "bad"}], seq_length=64)
        assert two.ids.tolist() == theirs(text, "bad")["input_ids"], text
    ours.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.frame == ours.frame and again.fingerprint() == ours.fingerprint()


@pytest.mark.parametrize(
    "settings",
    [
        {"strip_accents": False},
        {"strip_accents": True, "do_lower_case": False},
        {"do_lower_case": False},
        {"tokenize_chinese_chars": False},
        {"unk_token": {"content": "[UNK]", "lstrip": False, "__type": "AddedToken"}},
    ],
)
def test_what_a_folder_of_word_pieces_says_of_its_text(settings, tmp_path):
    from transformers import AutoTokenizer

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "naive",
        "naïve",
        "Naive",
        "Naïve",
        "好",
        "书",
        "好书",
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", **settings})
    )
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    for text in ("Naïve naïve Naive", "好书 好", "x"):
        assert encode_texts(ours, [{"text_a": text}], seq_length=64).ids.tolist() == theirs(text)["input_ids"]


@pytest.mark.parametrize("family", ["bert", "gpt2", "roberta", "pegasus"])
def test_export_and_back(family, tmp_path):
    """What we write for them puts the same tokens around texts, and is read alike by us."""
    from transformers import AutoTokenizer

    from uer.tokenizers.pipelines import save_for_transformers

    vocabulary(family, tmp_path)
    ours = load_tokenizer(tmp_path)
    save_for_transformers(ours, tmp_path / "out", 64)
    theirs, again = AutoTokenizer.from_pretrained(tmp_path / "out"), load_tokenizer(tmp_path / "out")
    expected = encode_texts(ours, [{"text_a": "the good", "text_b": "book"}], seq_length=64).ids.tolist()
    assert theirs("the good", "book")["input_ids"] == expected
    found = encode_texts(again, [{"text_a": "the good", "text_b": "book"}], seq_length=64).ids.tolist()
    assert found == expected


def test_a_decoder_begins_where_the_folder_says(tmp_path):
    vocabulary("bart", tmp_path)
    assert load_tokenizer(tmp_path).frame.start == 0
    (tmp_path / "config.json").write_text('{"model_type": "bart", "decoder_start_token_id": 2}')
    assert load_tokenizer(tmp_path).frame.start == 2


def test_rows_without_a_token(tmp_path):
    """The table of T5 has more rows than its tokenizer has tokens."""
    count = vocabulary("t5", tmp_path)
    assert len(load_tokenizer(tmp_path)) == count - 28
    (tmp_path / "config.json").write_text(f'{{"model_type": "t5", "vocab_size": {count}}}')
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer) == count and tokenizer.convert_ids_to_tokens([count - 1]) == [""]
    tokenizer.save(tmp_path / "saved")
    assert len(load_tokenizer(tmp_path / "saved")) == count


def test_another_kind_of_sentencepiece_model(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    (tmp_path / "spiece.model").write_bytes(sentence_piece(model_type="bpe"))
    with pytest.raises(DataError, match=r"spiece\.model: only unigram sentencepiece models can"):
        load_tokenizer(tmp_path)


def test_tokens_added_to_pieces_are_refused(tmp_path):
    vocabulary("t5", tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"newword": 128}')
    with pytest.raises(DataError, match=r"added_tokens\.json: adds 'newword' to a sentencepiece model"):
        load_tokenizer(tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"<extra_id_99>": 28}')
    assert load_tokenizer(tmp_path).vocab.index["<extra_id_99>"] == 28


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_tokens_that_were_added(family, tmp_path):
    from transformers import AutoTokenizer

    count = vocabulary(family, tmp_path)
    first = len(load_tokenizer(tmp_path))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"bookish thing": first + 1, "newword": first}))
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    assert len(ours) == first + 2 and count >= first
    for text in ("the newword is good", "a bookish thing, newwords"):
        found = ours.encode(text)
        assert found == theirs(text, add_special_tokens=False).input_ids and max(found) >= first
    (tmp_path / "added_tokens.json").write_text(json.dumps({"newword": first + 9}))
    with pytest.raises(DataError, match=r"added_tokens\.json: gives 'newword' the number .* restore both"):
        load_tokenizer(tmp_path)
