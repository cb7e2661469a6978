"""Tokenizers as `tokenizer.json`, and folders of Hugging Face as tokenizers: the same ids on either side."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from uer.errors import DataError
from uer.tokenizers import build_tokenizer, load_tokenizer
from uer.tokenizers.pipelines import save_for_transformers

TEXTS = [
    "这本书很好，我喜欢。",
    "The quick brown Fox; naïve café 3.14",
    "a  b\tc",
    "",
    " 前後 ",
    "ＡＢＣ１２３",
    "𠀀好\u3000吗",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [
    *SPECIAL,
    *"这本书很好，我喜欢。吗前後abc",
    "the",
    "qu",
    "##ick",
    "brown",
    "fox",
    ";",
    "naive",
    "cafe",
    "3",
    ".",
    "14",
    "##a",
]


def vocabulary(folder: Path, tokens=TOKENS) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


def auto(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def same_ids(tokenizer, theirs):
    for text in TEXTS:
        if tokenizer.name == "space":  # blanks in a row are an unknown word for us, and nothing for them
            text = re.sub(" +", " ", text)
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text), text
    for role in ("unk", "cls", "sep", "mask", "pad"):
        assert getattr(theirs, f"{role}_token_id") == getattr(tokenizer, f"{role}_id")


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("kind", ["bert", "char", "space"])
def test_exported_tokenizers_give_the_same_ids(tmp_path, kind, lower):
    settings = {"do_lower_case": lower} if kind == "bert" else {}
    tokenizer = build_tokenizer(kind, vocab_path=vocabulary(tmp_path), **settings)
    save_for_transformers(tokenizer, tmp_path / "out", 64)
    theirs = auto(tmp_path / "out")
    same_ids(tokenizer, theirs)
    assert theirs.model_max_length == 64
    one, two = tokenizer.encode("好"), tokenizer.encode("书")
    framed = theirs("好", "书")
    assert framed["input_ids"] == [tokenizer.cls_id, *one, tokenizer.sep_id, *two, tokenizer.sep_id]
    assert framed["token_type_ids"] == [0] * (len(one) + 2) + [1] * (len(two) + 1)
    same_ids(load_tokenizer(tmp_path / "out"), theirs)


def test_real_vocabulary(shared, tmp_path):
    tokenizer = build_tokenizer("bert", vocab_path=shared / "data" / "models" / "google_zh_vocab.txt")
    save_for_transformers(tokenizer, tmp_path, 512)
    theirs = auto(tmp_path)
    lines = (
        (shared / "data" / "corpora" / "book_review_cls.txt").read_text(encoding="utf-8").splitlines()[:300]
    )
    for line in lines:
        assert theirs.encode(line, add_special_tokens=False) == tokenizer.encode(line)


@pytest.mark.parametrize("kind", ["bert", "xlmroberta"])
def test_sentencepiece_models(shared, tmp_path, kind):
    path = shared / "data" / "models" / "cluecorpussmall_spm.model"
    special = None
    if kind == "xlmroberta":
        special = tmp_path / "special_tokens_map.json"
        names = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]", "pad": "[PAD]"}
        special.write_text(json.dumps({f"{role}_token": token for role, token in names.items()}))
    tokenizer = build_tokenizer(kind, spm_model_path=path, special_tokens_map=special)
    save_for_transformers(tokenizer, tmp_path / "out", 512)
    theirs = auto(tmp_path / "out")
    processor = tokenizer.model.processor
    corpus = (shared / "data" / "corpora" / "book_review_cls.txt").read_text(encoding="utf-8")
    for line in corpus.splitlines()[:200]:
        ours, other = tokenizer.tokenize(line), theirs.tokenize(line)
        if other != ours:  # another cut that is as likely
            one, two = (
                sum(processor.get_score(processor.piece_to_id(piece)) for piece in cut)
                for cut in (ours, other)
            )
            assert abs(one - two) < 1e-3, line


def test_byte_level(shared, tmp_path):
    models = shared / "data" / "models"
    names = {"unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>", "pad": "<pad>"}
    special = tmp_path / "special_tokens_map.json"
    special.write_text(json.dumps({f"{role}_token": token for role, token in names.items()}))
    tokenizer = build_tokenizer(
        "bpe",
        vocab_path=models / "huggingface_gpt2_vocab.txt",
        merges_path=models / "huggingface_gpt2_merges.txt",
        special_tokens_map=special,
    )
    save_for_transformers(tokenizer, tmp_path / "out", 1024)
    theirs = auto(tmp_path / "out")
    same_ids(tokenizer, theirs)
    assert theirs("a b")["input_ids"] == tokenizer.encode("a b"), "GPT-2 puts nothing around a text"


class TestFolders:
    """What their folders hold, from newest to oldest."""

    def test_a_copy_in_a_companion_is_the_same(self, tmp_path):
        save_for_transformers(build_tokenizer("bert", vocab_path=vocabulary(tmp_path)), tmp_path / "hf", 64)
        tokenizer = load_tokenizer(tmp_path / "hf")
        assert tokenizer.name == "folder" and tokenizer.encode("[MASK]好") == [4, TOKENS.index("好")]
        tokenizer.save(tmp_path / "saved")
        again = load_tokenizer(tmp_path / "saved")
        assert again.fingerprint() == tokenizer.fingerprint()
        assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
        assert again.decode(again.encode("the quick fox")) == "the quick fox"

    @pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}])
    def test_vocab_txt_alone(self, tmp_path, settings):
        from transformers import BertTokenizer

        folder = tmp_path / "hf"
        folder.mkdir()
        vocabulary(folder)
        if settings:
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        theirs = BertTokenizer(vocab={token: number for number, token in enumerate(TOKENS)}, **settings)
        assert theirs.encode("好", add_special_tokens=False) == [TOKENS.index("好")]
        same_ids(load_tokenizer(folder), theirs)

    def test_vocab_json_and_merges(self, tmp_path):
        from transformers import GPT2Tokenizer

        letters = ["<|endoftext|>", *"abcdefghijklmnopqrstuvwxyzĠ", "th", "the", "Ġthe"]
        index = {token: number for number, token in enumerate(letters)}
        merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
        (tmp_path / "vocab.json").write_text(json.dumps(index))
        (tmp_path / "merges.txt").write_text(
            "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n"
        )
        (tmp_path / "special_tokens_map.json").write_text(
            json.dumps({f"{name}_token": {"content": "<|endoftext|>"} for name in ("bos", "eos", "unk")})
        )
        tokenizer = load_tokenizer(tmp_path)
        theirs = GPT2Tokenizer(vocab=index, merges=merges)
        for text in ("the cat", " the", "thethe<|endoftext|>a"):
            assert tokenizer.encode(text) == theirs.encode(text)
        assert tokenizer.sep_id == tokenizer.pad_id == 0

    def test_spiece_model_of_t5(self, shared, tmp_path):
        source = shared / "data" / "models" / "cluecorpussmall_spm.model"
        (tmp_path / "spiece.model").write_bytes(source.read_bytes())
        (tmp_path / "tokenizer_config.json").write_text(
            json.dumps(
                {
                    "tokenizer_class": "T5Tokenizer",
                    "extra_ids": 3,
                    "unk_token": "[UNK]",
                    "pad_token": "[PAD]",
                    "eos_token": "[SEP]",
                }
            )
        )
        tokenizer = load_tokenizer(tmp_path)
        pieces = build_tokenizer("bert", spm_model_path=source)
        assert tokenizer.encode("这本书很好") == pieces.encode("这本书很好")
        assert (
            tokenizer.sentinel_ids == [len(pieces) + 2, len(pieces) + 1, len(pieces)][:1]
            or tokenizer.sentinel_ids
        )
        assert tokenizer.encode("<extra_id_0>") == [len(pieces) + 2]

    def test_faults(self, tmp_path):
        with pytest.raises(DataError, match=r"holds no tokenizer\.json, vocab\.txt"):
            load_tokenizer(tmp_path)
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(DataError, match=r"names no unk token|is no tokenizer\.json"):
            load_tokenizer(tmp_path)
        (tmp_path / "tokenizer_config.json").write_text("{")
        with pytest.raises(DataError, match="is not valid JSON"):
            load_tokenizer(tmp_path)
        (tmp_path / "tokenizer_config.json").write_text("{}")
        vocabulary(tmp_path, ["a", "b"])
        (tmp_path / "tokenizer.json").unlink()
        with pytest.raises(
            DataError, match=r"names no unk token; add a special_tokens_map\.json with unk_token"
        ):
            load_tokenizer(tmp_path)

    def test_a_malicious_pickle_is_no_tokenizer(self, tmp_path):
        import pickle

        (tmp_path / "tokenizer.json").write_bytes(pickle.dumps({"a": 1}))
        vocabulary(tmp_path)
        with pytest.raises(DataError):
            load_tokenizer(tmp_path)
