"""`scripts/inspect_dataset.py`: what made a dataset, what it holds, and whether it is whole."""

import re
from pathlib import Path

import pytest

import preprocess
from scripts import inspect_dataset
from tests.scripts.preprocessing import SPECIAL
from uer.cli import run
from uer.errors import DataError

WORDS = [*SPECIAL, *"abcdefgh", "<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]


@pytest.fixture
def vocab():
    Path("vocab.txt").write_text("\n".join(WORDS) + "\n")
    return "vocab.txt"


def make(processor, corpus, vocab, *flags):
    Path("corpus.txt").write_text(corpus)
    argv = ["--corpus_path", "corpus.txt", "--vocab_path", vocab, "--data_processor", processor, *flags]
    preprocess.main([*argv, "--tokenizer", "space", "--seq_length", "16"])


def show(capsys, *flags):
    capsys.readouterr()
    inspect_dataset.main(["dataset.pt", *flags])
    return capsys.readouterr().out


def test_everything_about_a_dataset(vocab, capsys):
    make("mlm", "\n".join(["a b c d e f g h"] * 50), vocab)
    out = show(capsys, "--vocab_path", vocab, "--tokenizer", "space")
    assert out.startswith("dataset.pt: 250 instances of --data_processor mlm, ")
    assert '"seq_length": 16' in out and '"mask_rate": 0.15' in out
    assert "tokenizer: space, 16 tokens, fingerprint" in out and "counts: 50 lines, 400 tokens" in out
    assert "source: corpus.txt, 800 bytes, 250 instances" in out.replace("799 bytes", "800 bytes")
    assert "array: start, 250 × u8, places in tokens" in out and "checksums: all right" in out
    assert out.count("instance ") == 3 and "→" in out and "[CLS]" in out
    assert "tokens of an instance: 10 to 10, mean 10.0" in out
    assert "padding of batches of 32 in random order: 0.0%" in out


def test_without_a_tokenizer_ids_are_shown(vocab, capsys):
    make("lm", "a b c", vocab)
    out = show(capsys, "--samples", "1", "--batch_size", "4")
    assert "src: 2 5 6 7\n" in out and "lm: 5 6 7 3\n" in out
    assert "padding: unknown, since a batch of 4 takes more instances than there are" in out
    out = show(capsys, "--samples", "0", "--verify", "false")
    assert "instance 0" not in out and "checksums" not in out


@pytest.mark.parametrize(
    ("processor", "corpus", "shown"),
    [
        ("bert", "a b\nc d\n\ne f\ng h\n", ["sp: ", "tokens of the first text"]),
        ("cls", "1\ta b\n0\tc\td\n", ["cls: 1", "cls: 0"]),
        ("mt", "a b\tc d\n", ["src: [CLS] a b [SEP]", "lm: c d [SEP]"]),
        ("t5", "a b c d e f\n", ["<extra_id_0>"]),
        ("bilm", "a b\n", ["bilm_forward: b [SEP]", "bilm_backward: [CLS] a"]),
    ],
)
def test_each_kind_of_label(vocab, capsys, processor, corpus, shown):
    make(processor, corpus, vocab)
    out = show(capsys, "--vocab_path", vocab, "--tokenizer", "space")
    assert all(text in out for text in shown)


def test_places_and_rows_that_belong_together(vocab, capsys):
    make("pert", "a b c d e f a b c d e f a b c d e f", vocab)
    said = re.search(r"pert: ([\d→ ]+)\n", show(capsys)).group(1)
    pairs = [part.split("→") for part in said.split()]
    assert len(pairs) == 2 and all(1 <= int(place) <= 15 for pair in pairs for place in pair)
    make("ernie_health", "a b c d e f", vocab)
    out = show(capsys)
    assert out.count("instance 0") == 1 and out.count("  src: ") == 2


def test_sentiment(vocab, capsys):
    """Also that lists are found by the flags of preprocess.py, and phrases and entities by theirs."""
    Path("words.tsv").write_text("b\tpositive\nd e\tnegative\n")
    Path("pairs.tsv").write_text("a\tb\n")
    lists = ["--sentiment_path", "words.tsv", "--pair_path", "pairs.tsv", "--pair_distance", "1"]
    make("skep", "a c b f g h d e", vocab, *lists, "--dup_factor", "1", "--mask_rate", "0.2")
    out = show(capsys, "--vocab_path", vocab, "--tokenizer", "space")
    assert "polarity: positive negative negative\n" in out and "pair: a b\n" in out
    assert "2 sentiment_words" in out and "1 sentiment_pairs" in out
    Path("list.tsv").write_text("a b\nc d\tphrase\n")
    known = ["--knowledge_masking", "--knowledge_path", "list.tsv", "--knowledge_levels", "0", "0", "1"]
    make("mlm", "a b c d e f g h a b", vocab, *known, "--dup_factor", "1")
    out = show(capsys, "--vocab_path", vocab, "--tokenizer", "space")
    assert "1 phrases" in out and "2 entities" in out and "array: knowledge" in out


def test_packed_documents_and_shares(vocab, capsys):
    Path("a.txt").write_text("a b\nc d\n")
    argv = ["--corpus_path", "a.txt", "a.txt", "--corpus_weights", "1", "3", "--vocab_path", vocab]
    preprocess.main([*argv, "--data_processor", "lm", "--packing", "--tokenizer", "space"])
    out = show(capsys)
    assert "documents: 4 4" in out
    assert "share: 25.0% from instance 0 on (1)" in out and "share: 75.0% from instance 1 on (1)" in out


def test_another_tokenizer_is_noted(vocab, capsys):
    make("lm", "a b c", vocab)
    assert "made with another tokenizer" in show(capsys, "--vocab_path", vocab, "--tokenizer", "char")


def test_a_damaged_dataset(vocab, capsys):
    make("lm", "a b c", vocab)
    data = bytearray(Path("dataset.pt").read_bytes())
    data[-2] ^= 1
    Path("dataset.pt").write_bytes(data)
    with pytest.raises(DataError, match="the array 'tokens' is damaged"):
        inspect_dataset.main(["dataset.pt"])
    assert run(inspect_dataset.main, ["no.pt"]) == 2
    assert "error: no.pt: the file does not exist" in capsys.readouterr().err
