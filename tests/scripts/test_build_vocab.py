"""scripts/build_vocab.py: UER's counts and order, learnt pieces, and what is wrong in one line."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from scripts.build_vocab import main
from uer.cli import run
from uer.data import counting, spans
from uer.errors import ConfigError, DataError, EnvironmentFault
from uer.tokenizers import build_tokenizer
from uer.tokenizers.train import RESERVED, SENTENCE, train_sentencepiece
from uer.tokenizers.vocab import Vocab

TEXT = "the cat sat on the mat\n\n  中国 的 中 \r\nthe  中国 [CLS] x\u3000y"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_bytes(TEXT.encode())
    return path


def build(corpus: Path, *flags: str, out: str = "vocab.txt") -> list[str]:
    assert main(["--corpus_path", str(corpus), "--output_path", out, *flags]) == 0
    return Path(out).read_text(encoding="utf-8").splitlines()


def test_reserved_entries_are_uers(shared: Path) -> None:
    assert len(RESERVED) == 104
    assert list(RESERVED) == Vocab.load(shared / "data/models/reserved_vocab.txt").tokens


def test_words(corpus: Path) -> None:
    words = [
        "the",
        "中国",
        "cat",
        "sat",
        "on",
        "mat",
        "的",
        "中",
    ]  # [CLS] is reserved, x\u3000y holds a blank
    assert build(corpus, "--delimiter", "space")[104:] == words
    assert build(corpus, "--delimiter", "space", "--min_count", "2")[104:] == words[:2]


def test_characters(corpus: Path) -> None:
    got = build(corpus, "--model_type", "char")
    counts = Counter(char for line in TEXT.split("\n") for char in line.strip() if not char.isspace())
    assert got[:104] == list(RESERVED)
    # Python's Counter orders as asked: by falling count, equal ones as first seen.
    assert got[104:] == [char for char, _ in counts.most_common()]
    assert build(corpus, "--delimiter", "char", "--vocab_size", "106") == got[:106]


@pytest.mark.parametrize("delimiter", ["char", "space"])
def test_processes_lose_nothing(tmp_path: Path, monkeypatch, shared: Path, delimiter: str) -> None:
    lines = (shared / "data/corpora/book_review_cls.txt").read_text(encoding="utf-8").split("\n")[:3000]
    path = tmp_path / "c.txt"
    path.write_bytes(("\ufeff" + "\n".join(lines)).encode())  # the last line has no end
    monkeypatch.setattr(spans, "SPAN", 5000)
    tokens = [
        token
        for line in lines
        for token in (line.strip() if delimiter == "char" else line.strip().split(" "))
    ]
    expected = Counter(token for token in tokens if token)
    for workers in (1, 2):
        counts = counting.count_tokens(path, delimiter, workers)
        assert list(counts.items()) == list(expected.items())


def test_word_pieces(corpus: Path, capsys) -> None:
    tokens = build(corpus, "--model_type", "wordpiece", "--vocab_size", "140")
    assert tokens[:104] == list(RESERVED) and "the" in tokens and "国" in tokens and len(tokens) <= 140
    assert len(set(tokens)) == len(tokens)
    ours = build_tokenizer("bert", vocab_path="vocab.txt")
    assert ours.tokenize("The cat 中") == ["the", "cat", "中"]
    assert build(corpus, "--model_type", "wordpiece", "--vocab_size", "140") == tokens
    assert "Use it with --tokenizer bert --vocab_path vocab.txt" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_fewer_entries_than_there_must_be(corpus: Path, capsys, kind: str) -> None:
    tokens = build(corpus, "--model_type", kind, "--vocab_size", "105")
    said = capsys.readouterr().err
    assert f"{len(tokens)} entries" in said and "more than --vocab_size 105: reserved entries and" in said
    build(corpus, "--model_type", kind, "--vocab_size", str(len(tokens)))
    assert "more than" not in capsys.readouterr().err


def test_the_same_corpus_gives_the_same_pieces(shared: Path) -> None:
    text = (shared / "data/corpora/news-commentary-v13-en-zh_sampled.txt").read_text(encoding="utf-8")
    corpus = Path("corpus.txt")
    corpus.write_text(text[:60_000], encoding="utf-8")
    for kind in ("wordpiece", "bpe", "sentencepiece"):
        contents = []
        for _ in range(2):
            flags = ["--model_type", kind, "--vocab_size", "2100"]
            assert main(["--corpus_path", str(corpus), "--output_path", "v", *flags]) == 0
            contents.append(Path("v").read_bytes())
        assert len(set(contents)) == 1, kind


def test_word_pieces_with_case(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("The Cat\nThe Dog\n", encoding="utf-8")
    tokens = build(path, "--model_type", "wordpiece", "--vocab_size", "130", "--do_lower_case", "false")
    assert "The" in tokens and "the" not in tokens


def test_byte_pairs(corpus: Path) -> None:
    tokens = build(corpus, "--model_type", "bpe", "--vocab_size", "380")
    assert tokens[:104] == list(RESERVED) and "Ġthe" in tokens
    for merges in ("merges.txt", "other.txt"):
        if merges == "other.txt":
            assert (
                build(corpus, "--model_type", "bpe", "--vocab_size", "380", "--merges_path", merges) == tokens
            )
        ours = build_tokenizer("bpe", vocab_path="vocab.txt", merges_path=merges)
        assert ours.tokenize("x the") == ["x", "Ġthe"]
        assert ours.decode(ours.encode(TEXT)) == TEXT and ours.mask_id == 103


def test_sentencepiece(shared: Path) -> None:
    corpus = shared / "data/corpora/news-commentary-v13-en-zh_sampled.txt"
    flags = ("--model_type", "sentencepiece", "--vocab_size", "3000")
    assert main(["--corpus_path", str(corpus), "--output_path", "x.model", *flags]) == 0
    ours = build_tokenizer("bert", spm_model_path="x.model")
    assert (ours.pad_id, ours.unk_id, ours.cls_id, ours.sep_id, ours.mask_id) == (0, 1, 2, 3, 4)
    assert 2000 < len(ours) <= 3000 and ours.vocab.tokens[5:104] == list(RESERVED[1:100])
    text = "the economic crisis 经济"
    assert ours.decode(ours.encode(text)) == text and len(ours.tokenize(text)) < len(text) / 2


def test_sentencepiece_sees_long_lines() -> None:
    """A line beyond sentencepiece's limit counts like any other."""
    long = "abcd efgh " * (SENTENCE // 5) + "zq" * 3000
    from uer.tokenizers.sentence_piece import SpmModel

    pieces = SpmModel(train_sentencepiece([long, "ab"], vocab_size=130, threads=1), "x").pieces
    assert any("q" in piece for piece in pieces)


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "say what the entries are with --delimiter char"),
        (
            ["--delimiter", "char", "--model_type", "bpe"],
            "--delimiter char and --model_type bpe are both given",
        ),
        (["--delimiter", "char", "--merges_path", "m"], "--merges_path needs --model_type bpe, not char"),
        (
            ["--delimiter", "char", "--do_lower_case", "false"],
            "--do_lower_case false needs --model_type wordpiece",
        ),
        (["--model_type", "sentencepiece", "--min_count", "2"], "--min_count has no meaning"),
        (["--model_type", "bpe", "--workers_num", "2"], "--workers_num has no meaning for --model_type bpe"),
        (["--delimiter", "chars"], "--delimiter is 'chars'; choose from char, space. Did you mean 'char'?"),
        (
            ["--delimiter", "char", "--workers_num", "0"],
            "--workers_num is 0; it must be a number greater than 0",
        ),
        (
            ["--model_type", "sentencepiece", "--vocab_size", "5"],
            "sentencepiece could not learn 5 pieces (Vocabulary size is smaller than",
        ),
    ],
)
def test_senseless_flags(corpus: Path, flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        main(["--corpus_path", str(corpus), "--output_path", "v.txt", *flags])
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not Path("v.txt").exists()


def test_required_flags() -> None:
    with pytest.raises(ConfigError, match="--corpus_path, --output_path must be given"):
        main(["--delimiter", "char"])


@pytest.mark.parametrize("kind", ["char", "space", "wordpiece", "bpe", "sentencepiece"])
@pytest.mark.parametrize(
    "data, message",
    [
        (None, "does not exist"),
        (b"", "the corpus is empty"),
        (b"abc\nd\xffe\n", ":2: byte 0xff at offset 5 is not UTF-8"),
    ],
)
def test_bad_corpora(tmp_path: Path, kind: str, data: bytes | None, message: str) -> None:
    path = tmp_path / "c.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        main(["--corpus_path", str(path), "--output_path", "v.txt", "--model_type", kind])
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert not Path("v.txt").exists()


def test_nothing_left(corpus: Path, capsys) -> None:
    flags = [
        "--corpus_path",
        str(corpus),
        "--output_path",
        "v.txt",
        "--delimiter",
        "char",
        "--min_count",
        "99",
    ]
    assert run(main, flags) == 2
    assert "gave no entry beside the 104 reserved ones; see --min_count (99)" in capsys.readouterr().err


def die(*_: object) -> None:
    """What the kernel does to a process when memory runs out."""
    os.kill(os.getpid(), 9)


def test_a_killed_worker_is_named(corpus: Path, monkeypatch) -> None:
    monkeypatch.setattr(counting, "count_span", die)
    with pytest.raises(EnvironmentFault, match=r"a worker process was killed .*; use fewer --workers_num"):
        counting.count_tokens(corpus, "char", 2)
