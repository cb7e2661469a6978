"""`preprocess.py` as typed: on any number of processes, from any text."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import preprocess
from tests.scripts.preprocessing import WORDS, preprocess_to
from uer.cli import run
from uer.data import spans
from uer.data.store import Store
from uer.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "flags",
    [
        ["--data_processor", "bert"],
        ["--data_processor", "bert", "--dynamic_masking"],
        ["--data_processor", "mlm", "--span_masking"],
        ["--data_processor", "lm"],
    ],
)
def test_the_same_bytes_from_any_number_of_processes(tmp_path, corpus, vocab, small_spans, flags):
    preprocess_to("one.pt", corpus, vocab, *flags)
    preprocess_to("many.pt", corpus, vocab, *flags, "--processes_num", "3")
    assert Path("one.pt").read_bytes() == Path("many.pt").read_bytes()
    preprocess_to("seed.pt", corpus, vocab, *flags, "--seed", "8")
    if flags[-1] != "lm":
        assert Path("one.pt").read_bytes() != Path("seed.pt").read_bytes()
    assert sorted(os.listdir()) == ["corpus.txt", "many.pt", "one.pt", "seed.pt", "vocab.txt"]
    Store("one.pt").verify()


def test_both_generations_of_flags(corpus, vocab):
    preprocess_to("new.pt", corpus, vocab, "--data_processor", "mlm")
    preprocess_to("old.pt", corpus, vocab, "--target", "mlm", "--docs_buffer_size", "10")
    preprocess_to("both.pt", corpus, vocab, "--data_processor", "bert", "--target", "mlm", "sp")
    assert Path("new.pt").read_bytes() == Path("old.pt").read_bytes()
    assert Store("both.pt").objective == "bert"


def test_defaults_of_uer(corpus, vocab):
    store = preprocess_to("dataset.pt", corpus, vocab)
    options = store.header["options"]
    assert store.objective == "bert" and options["seq_length"] == 128 and options["dup_factor"] == 5
    assert options["seed"] == 7 and options["short_seq_prob"] == 0.1 and not options["dynamic_masking"]
    assert store.header["masking"]["mask_rate"] == 0.15
    assert store.header["sources"] == [
        {"name": "corpus.txt", "bytes": os.path.getsize(corpus), "first": 0, "instances": len(store)}
    ]
    assert store.header["tokenizer"]["vocab_size"] == len(WORDS) and store["tokens"].dtype == np.uint16


def test_what_it_says_at_the_end(corpus, vocab, capsys):
    preprocess_to("out/dataset.pt", corpus, vocab, "--data_processor", "lm", "--processes_num", "2")
    said = capsys.readouterr().err
    assert "Starting 2 workers for building datasets ... " in said
    assert "Wrote out/dataset.pt: " in said and "MB/s" in said and "2,000 lines" not in said
    assert (
        "Next: python3 pretrain.py --dataset_path out/dataset.pt --vocab_path vocab.txt --config_path "
        "models/gpt2/config.json --output_model_path models/output_model.bin --data_processor lm --target lm"
        in said
    )


def test_the_next_command_names_the_vocabulary_of_the_target(vocab, tmp_path, capsys):
    (tmp_path / "pairs.txt").write_text("a\tb\n" * 40, encoding="utf-8")
    (tmp_path / "tgt.txt").write_text(Path(vocab).read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    for flags in ([], ["--tgt_vocab_path", "tgt.txt"]):
        preprocess_to("out.pt", "pairs.txt", vocab, "--data_processor", "mt", *flags)
        (said,) = re.findall(r"Next: python3 pretrain.py (.*)", capsys.readouterr().err)
        assert ("--tgt_vocab_path tgt.txt" in said) == bool(flags)


def test_documents_are_not_cut_where_spans_end(corpus, vocab, monkeypatch):
    """The second text of label 0 is the same whatever the spans; a document would be cut in two otherwise."""

    def documents(store):
        tokens = store["tokens"]
        true = store["label"] == 0
        return store.header["counts"]["documents"], {
            tuple(tokens[a : a + n]) for a, n in zip(store["a_start"][true], store["a_length"][true])
        }

    flags = ["--dynamic_masking", "--short_seq_prob", "0"]
    whole = documents(preprocess_to("whole.pt", corpus, vocab, *flags))
    monkeypatch.setattr(spans, "SPAN", 997)
    cut = documents(preprocess_to("cut.pt", corpus, vocab, *flags))
    assert whole[0] == cut[0] == 500


@pytest.mark.parametrize("span", [1, 7, 100, 4096])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_every_line_counts_once_whatever_the_spans(tmp_path, vocab, monkeypatch, span, ending):
    monkeypatch.setattr(spans, "SPAN", span)
    lines = ["丁" * 3, "", "a", "\u3000", "b b", "丂" * 40]
    joint = "\r\n" if ending == "\r\n" else "\n"
    Path("corpus.txt").write_bytes(b"\xef\xbb\xbf" + (joint.join(lines) + ending).encode())
    store = preprocess_to("d.pt", "corpus.txt", vocab, "--data_processor", "lm")
    tokens = [WORDS[number] for number in store["tokens"]]
    assert "".join(tokens).replace("[SEP]", "\n").replace("[CLS]", "").split() == [
        line.replace(" ", "") for line in lines if line.strip()
    ]
    assert store.header["counts"]["lines"] == 6 and store.header["counts"]["blank_lines"] == 2


def test_documents_borders_with_any_span(vocab, monkeypatch):
    text = "丁一\n丁二\n\n\n \n丁三\n\n丁四\n丁五\n丁六"
    Path("corpus.txt").write_text(text, encoding="utf-8")
    seen = set()
    for span in (1, 5, 9, 20, 100):
        monkeypatch.setattr(spans, "SPAN", span)
        store = preprocess_to("d.pt", "corpus.txt", vocab, "--dynamic_masking")
        seen.add((store.header["counts"]["documents"], store.header["counts"]["cut_documents"]))
    assert seen == {(3, 0)}


def test_over_long_lines_are_cut_and_counted(vocab, monkeypatch, capsys):
    monkeypatch.setattr(spans, "SPAN", 100)
    monkeypatch.setattr(spans, "LONGEST", 300)
    Path("corpus.txt").write_text("丁" * 1000 + "\n" + "丂" * 50, encoding="utf-8")
    store = preprocess_to("d.pt", "corpus.txt", vocab, "--data_processor", "lm")
    body = [number for number in store["tokens"] if number > 4]
    assert len(body) == 1050 and 1 not in body  # no character was torn apart
    assert store.header["counts"]["cut_documents"] > 3
    assert "longer than 8 MiB were cut" in capsys.readouterr().err


def test_no_blank_line_at_all_is_one_document(vocab, monkeypatch):
    monkeypatch.setattr(spans, "SPAN", 100)
    monkeypatch.setattr(spans, "LONGEST", 300)
    Path("corpus.txt").write_text("丁一。\n" * 500, encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.txt: .*holds only one document"):
        preprocess_to("d.pt", "corpus.txt", vocab, "--dynamic_masking")


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["bert", "mlm", "lm"])
def test_memory_does_not_grow_with_the_corpus(shared, processor):
    """2 GB of text and a line of 100 MB; each worker keeps below 500 MB."""
    text = (shared / "data/corpora/CLUECorpusSmall_bert_sampled.txt").read_bytes()
    with open("corpus.txt", "wb") as file:
        for number in range(1020):
            file.write(text)
            if number == 500:
                file.write("好".encode() * 35_000_000 + b"\n\n")
    command = [
        sys.executable,
        str(ROOT / "preprocess.py"),
        "--corpus_path",
        "corpus.txt",
        "--processes_num",
        "2",
    ]
    command += [
        "--vocab_path",
        str(shared / "data/models/google_zh_vocab.txt"),
        "--data_processor",
        processor,
    ]
    command += [] if processor == "lm" else ["--dynamic_masking"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert int(re.search(r"at most ([\d,]+) MB a process", said)[1].replace(",", "")) < 500
    os.remove("dataset.pt")
    os.remove("corpus.txt")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_bytes_that_are_not_utf8(corpus, vocab, small_spans, processes, capsys):
    data = Path(corpus).read_bytes().split(b"\n")
    data[1500] = data[1500][:6] + b"\xff" + data[1500][6:]
    data[2200] = b"\xed\xa0\x80"  # an encoded surrogate
    Path(corpus).write_bytes(b"\n".join(data))
    offset = len(b"\n".join(data[:1500])) + 1 + 6
    flags = ["--data_processor", "lm", "--processes_num", processes]
    with pytest.raises(
        DataError, match=rf"corpus\.txt:1501: byte 0xff at offset {offset} is not UTF-8; convert"
    ):
        preprocess_to("d.pt", corpus, vocab, *flags)
    for policy, said in (
        ("skip", f"2 lines that are not UTF-8 were skipped; the first at byte {offset:,}."),
        (
            "replace",
            f"4 U+FFFD were put in the place of bytes that are not UTF-8; the first at byte {offset:,}.",
        ),
    ):
        capsys.readouterr()
        store = preprocess_to("d.pt", corpus, vocab, *flags, "--encoding_errors", policy)
        assert said in capsys.readouterr().err
        counts = store.header["counts"]
        assert counts.get("skipped_lines", 0) == (2 if policy == "skip" else 0)


def test_nul_characters_are_dropped(vocab, capsys):
    Path("corpus.txt").write_bytes("丁\0丂\n\0\n".encode())
    store = preprocess_to("d.pt", "corpus.txt", vocab, "--data_processor", "lm")
    assert "2 NUL characters were dropped" in capsys.readouterr().err
    assert [WORDS[number] for number in store["tokens"]] == ["[CLS]", "丁", "丂", "[SEP]"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"corpus\.txt: the corpus is empty; give a text file with --corpus_path"),
        (b"\n \n\n", r"corpus\.txt: holds no text, only blank lines"),
        ("丁".encode("gb18030") * 5, r"corpus\.txt:1: byte 0x.* is not UTF-8; .*GB18030"),
        ("丁\n".encode("utf-16"), r"corpus\.txt:1: byte 0xff at offset 0 is not UTF-8; .*UTF-16"),
    ],
)
def test_corpora_that_give_nothing(content, message, vocab):
    Path("corpus.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        preprocess_to("d.pt", "corpus.txt", vocab, "--data_processor", "lm")
    assert not Path("d.pt").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data_processor", "brt"], "--data_processor is 'brt'; choose from .* Did you mean 'bert'"),
        (
            ["--data_processor", "bert", "--target", "lm"],
            "--target lm does not go with --data_processor bert",
        ),
        (
            ["--data_processor", "lm", "--dynamic_masking"],
            "--dynamic_masking has no meaning for --data_processor lm",
        ),
        (["--full_sentences"], "--full_sentences has no meaning for --data_processor bert"),
        (["--tgt_vocab_path", "x"], "--tgt_vocab_path has no meaning for --data_processor bert"),
        (
            ["--whole_word_masking", "--span_masking"],
            "--whole_word_masking and --span_masking are both given",
        ),
        (["--seq_length", "4"], "--seq_length is 4; it must be 5 or more"),
        (["--processes_num", "0"], "--processes_num is 0; it must be a number greater than 0"),
        (["--seq_lenght", "64"], "unknown flag '--seq_lenght'. Did you mean '--seq_length'"),
    ],
)
def test_flags_that_cannot_work(corpus, vocab, flags, message):
    with pytest.raises(ConfigError, match=message):
        preprocess_to("d.pt", corpus, vocab, *flags)


def test_exit_code_and_line_of_a_missing_corpus(vocab, capsys):
    code = run(preprocess.main, ["--corpus_path", "no.txt", "--vocab_path", vocab])
    assert code == 2
    assert (
        capsys.readouterr().err.splitlines()[-1] == "error: no.txt: the file does not exist; check the path."
    )


def test_no_torch_in_the_process_or_its_workers(tmp_path, corpus, vocab):
    program = """
import sys, json, preprocess
from uer.data import parts
build = parts.PartBuilder._build
def looks(self, source, span):
    build(self, source, span)
    with open("modules.txt", "a") as file:
        file.write(" ".join(sorted(set(m.split(".")[0] for m in sys.modules))) + "\\n")
parts.PartBuilder._build = looks
preprocess.main(["--corpus_path", "corpus.txt", "--vocab_path", "vocab.txt", "--processes_num", "2"])
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    loaded = set(Path("modules.txt").read_text().split())
    assert "numpy" in loaded and not loaded & {"torch", "transformers", "tensorflow"}


def test_print_config(corpus, vocab, capsys):
    with pytest.raises(SystemExit):
        preprocess.main(["--corpus_path", corpus, "--target=bert", "--seq_len=64", "--print_config"])
    config = json.loads(capsys.readouterr().out)
    assert config["data_processor"] == "bert" and config["seq_length"] == 64


def test_real_text(shared, tmp_path):
    vocab = str(shared / "data/models/google_zh_vocab.txt")
    corpus = str(shared / "data/corpora/CLUECorpusSmall_bert_sampled.txt")
    store = preprocess_to(
        "d.pt", corpus, vocab, "--target", "bert", "--processes_num", "2", "--dynamic_masking"
    )
    assert store.header["counts"]["tokens"] == 658_005 and store.header["counts"]["documents"] == 2500
    assert abs(float(store["label"].mean()) - 0.5) < 0.15
