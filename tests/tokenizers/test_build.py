"""`build_tokenizer` and `load_tokenizer`: flags that go together, saved folders, what an import costs."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.tokenizers.oracles import SPECIAL
from uer.config.tokenizer import TOKENIZERS as NAMES
from uer.errors import ConfigError, DataError
from uer.tokenizers import TOKENIZERS, build_tokenizer, load_tokenizer, words
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.special import XLMR, SpecialTokens
from uer.utils.lazy import load

TEXT = "中国 the 7,000 cafés\u3000it's [MASK] é\n"


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    path = tmp_path / "v.txt"
    path.write_text("\n".join([*SPECIAL, "中", "国", "the", "[", "]", "mask", "7"]), encoding="utf-8")
    return path


def test_the_names_are_those_of_the_flag() -> None:
    assert tuple(TOKENIZERS) == NAMES
    for name, target in TOKENIZERS.items():
        assert load(target).name == name


def test_importing_and_naming_faults_imports_no_library() -> None:
    code = (
        "import sys, uer.tokenizers as t\n"
        "try: t.build_tokenizer('brt')\n"
        "except ValueError as error: print(error)\n"
        "print([m for m in ('numpy', 'tokenizers', 'sentencepiece', 'torch') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert "Did you mean 'bert'?" in out.stdout and out.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    "name, files, words",
    [
        ("bert", {}, "--tokenizer bert needs --vocab_path or --spm_model_path"),
        ("char", {}, "--tokenizer char needs --vocab_path or --spm_model_path"),
        (
            "bert",
            {"vocab_path": "v", "spm_model_path": "s"},
            "--vocab_path and --spm_model_path are both given",
        ),
        ("bert", {"vocab_path": "v", "merges_path": "m"}, "--merges_path needs --tokenizer bpe, not bert"),
        ("bpe", {"vocab_path": "v"}, "--tokenizer bpe needs --merges_path"),
        ("bpe", {}, "--tokenizer bpe needs --vocab_path and --merges_path"),
        (
            "bpe",
            {"spm_model_path": "s", "merges_path": "m"},
            "--vocab_path and --merges_path, not --spm_model_path",
        ),
        ("xlmroberta", {"vocab_path": "v"}, "--tokenizer xlmroberta needs --spm_model_path"),
        ("wordpiece", {"vocab_path": "v"}, "--tokenizer 'wordpiece' is unknown"),
    ],
)
def test_files_that_do_not_go_together(name: str, files: dict, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_tokenizer(name, **files)
    assert words in str(caught.value)


def test_a_vocabulary_without_a_special_token(vocab: Path) -> None:
    vocab.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n中\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        build_tokenizer("char", vocab_path=vocab)
    assert f"{vocab}: the vocabulary lacks the mask token '[MASK]'" in str(caught.value)


def test_special_tokens_are_found_or_named(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("<s>\n<pad>\n</s>\n<unk>\n中\n<mask>\n", encoding="utf-8")
    ours = build_tokenizer("bert", vocab_path=path)
    assert ours.special == XLMR
    assert (ours.cls_id, ours.pad_id, ours.sep_id, ours.unk_id, ours.mask_id) == (0, 1, 2, 3, 5)
    SpecialTokens("<unk>", "中", "</s>", "<mask>", "<pad>", None).save(tmp_path / "map.json")
    assert build_tokenizer("char", vocab_path=path, special_tokens_map=tmp_path / "map.json").cls_id == 4


def test_sentinels(tmp_path: Path, vocab: Path, shared: Path) -> None:
    assert build_tokenizer("bert", vocab_path=vocab).sentinel_ids == []
    path = tmp_path / "s.txt"
    path.write_text("\n".join([*SPECIAL, *(f"<extra_id_{n}>" for n in (0, 1, 2, 4))]), encoding="utf-8")
    assert build_tokenizer("bert", vocab_path=path).sentinel_ids == [5, 6, 7]
    real = build_tokenizer("bert", vocab_path=shared / "data/models/google_zh_with_sentinel_vocab.txt")
    assert real.sentinel_ids == list(range(21128, 21228))


def test_conversions(vocab: Path) -> None:
    ours = build_tokenizer("bert", vocab_path=vocab)
    assert len(ours) == ours.vocab_size == 12
    assert ours.convert_tokens_to_ids(["中", "nowhere", "[CLS]", ""]) == [5, 1, 2, 1]
    assert ours.convert_ids_to_tokens([5, 1, 2]) == ["中", "[UNK]", "[CLS]"]


@pytest.fixture(scope="module")
def every_kind(shared: Path) -> list[Tokenizer]:
    """One tokenizer of every kind, over real files."""
    models = shared / "data/models"
    zh, spm = models / "google_zh_vocab.txt", models / "cluecorpussmall_spm.model"
    gpt2 = {
        "vocab_path": models / "huggingface_gpt2_vocab.txt",
        "merges_path": models / "huggingface_gpt2_merges.txt",
    }
    return [
        *(build_tokenizer(name, vocab_path=zh) for name in ("bert", "char", "space")),
        *(build_tokenizer(name, spm_model_path=spm) for name in ("bert", "char", "space", "xlmroberta")),
        build_tokenizer("bert", vocab_path=zh, do_lower_case=False),
        build_tokenizer("bpe", **gpt2),
    ]


def test_saved_folders(tmp_path: Path, every_kind: list[Tokenizer]) -> None:
    prints = set()
    for number, ours in enumerate(every_kind):
        folder = tmp_path / str(number)
        ours.save(folder)
        again = load_tokenizer(folder)
        assert type(again) is type(ours) and again.special == ours.special and len(again) == len(ours)
        assert again.encode(TEXT) == ours.encode(TEXT)
        assert again.fingerprint() == ours.fingerprint()
        prints.add(ours.fingerprint())
    assert len(prints) == number + 1  # whatever changes ids changes the fingerprint


def test_processes_and_threads_may_share_one(monkeypatch, shared: Path, every_kind: list[Tokenizer]) -> None:
    """Pickled with what it remembers; several threads, while the memory is emptied all the time."""
    lines = (shared / "data/corpora/news-commentary-v13-en-zh_sampled.txt").read_text(encoding="utf-8")
    texts = lines.split("\n")[:60]
    for ours in every_kind:
        expected = ours.encode_batch(texts)[0].tolist()
        assert pickle.loads(pickle.dumps(ours)).encode_batch(texts)[0].tolist() == expected
        with monkeypatch.context() as patched, ThreadPoolExecutor(4) as pool:
            patched.setattr(words, "MOST_WORDS", 5)
            patched.setattr(words, "BLOCK", 300)
            for ids, _ in pool.map(ours.encode_batch, [texts] * 4):
                assert ids.tolist() == expected


def test_changed_and_foreign_folders(tmp_path: Path, vocab: Path) -> None:
    with pytest.raises(DataError, match=r"holds no tokenizer\.json, vocab\.txt"):
        load_tokenizer(tmp_path)
    numbered = tmp_path / "numbered"
    numbered.mkdir()
    (numbered / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\n[MASK]\n[PAD]\n", encoding="utf-8")
    (numbered / "spm.model").write_bytes(b"")
    with pytest.raises(DataError, match="numbers the pieces of a sentencepiece model, which is not read"):
        load_tokenizer(numbered)
    folder = tmp_path / "saved"
    build_tokenizer("bert", vocab_path=vocab).save(folder)
    with (folder / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("more\n")
    with pytest.raises(DataError, match="files were changed after they were saved"):
        load_tokenizer(folder)
    config = folder / "tokenizer_config.json"
    config.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="is not valid JSON"):
        load_tokenizer(folder)
    config.write_text('{"uer_tokenizer": "bert"}', encoding="utf-8")
    with pytest.raises(DataError, match="was not written by this program; give the tokenizer's files"):
        load_tokenizer(folder)
    config.write_text(json.dumps({"uer_tokenizer": "bert", "fingerprint": "", "odd": 1}), encoding="utf-8")
    with pytest.raises(DataError, match="was not written by this program"):
        load_tokenizer(folder)
