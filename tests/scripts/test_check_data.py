"""`scripts/check_data.py`: formats by content, and every bad line by number."""

import gzip
import json
from pathlib import Path

import pytest

from scripts import check_data
from uer.errors import DataError


def check(capsys, name, content, *flags):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    code = check_data.main([name, *flags])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "described"),
    [
        ("c.txt", "one document\nanother\n", "text, one document a line (lm, mlm, t5, bilm)"),
        ("c.txt", "a sentence\nanother\n\nnext\n", "one sentence a line, documents parted by blank lines"),
        ("c.txt", "0\tgood\n1\tbad\n", "label and one or two texts, TAB between, no header (cls, cls_mlm)"),
        ("c.txt", "hello\tgood\nyou\tbad\n", "2 columns, TAB between, no header (mt, prefixlm)"),
        ("t.tsv", "label\ttext_a\n1\tx\n", "a table with the columns label, text_a (task file)"),
        ("t.tsv", "\ufefftext_a\tlabel\nx\tO\n", "a table with the columns text_a, label (task file)"),
        ("c.jsonl", '{"text": "x", "url": "y"}\n', "JSON lines with the fields text"),
        ("c.json", '{"text": "x"}\n{"text": "y"}\n', "JSON lines with the fields text"),
        ("d.json", json.dumps([[1], [2]], indent=1), "one JSON document, a list of 2 entries (task file)"),
        ("d.json", json.dumps({"data": []}), "one JSON document, an object with the keys data (task file)"),
        ("c.txt.gz", gzip.compress(b"one\ntwo\n"), "text, one document a line"),
    ],
)
def test_formats(capsys, name, content, described):
    code, out = check(capsys, name, content)
    assert code == 0 and described in out and "0 bad lines" in out


@pytest.mark.parametrize(
    ("name", "content", "bad"),
    [
        (
            "t.tsv",
            "label\ttext_a\n1\tx\n\n1\n1\tx\ty\n",
            {3: "is empty", 4: "has 1 of 2 columns", 5: "a TAB in a text?"},
        ),
        (
            "t.tsv",
            b"label\ttext_a\n1\tx\n1\t\xff\n1\ta\0\n",
            {3: "byte 0xff at position 2", 4: "holds a NUL character"},
        ),
        (
            "c.txt",
            "0\tgood\n1\tbad\nx\tbad\n1\n1\tx\n",
            {3: "the label is 'x'", 4: "has 1 columns, not 2 or 3"},
        ),
        (
            "c.jsonl",
            '{"text": "x"}\n{"text\n[]\n{"a": 1}\n',
            {2: "is not JSON", 3: "a JSON list", 4: "lacks the field text"},
        ),
        (
            "d.jsonl",
            '{"text": "x"}\n{"text": ' + "[" * 9999 + '\n{"text": ' + "7" * 5000 + "}\n",
            {2: "brackets lie too deep", 3: "an integer has thousands of digits"},
        ),
        ("t.tsv", b"label\ttext_a\t\xff\n0\tx\ty\n", {1: "byte 0xff at position"}),
        ("d.json", "[\n1,\n2,,\n]", {3: "is not JSON"}),
        ("d.json", "[\n" + "[" * 9999, {1: "brackets lie too deep"}),
        ("d.json", b'[\n1,\n"\xff"\n]', {3: "byte 0xff at offset"}),
    ],
)
def test_bad_lines(capsys, name, content, bad):
    code, out = check(capsys, name, content)
    assert code == 1 and f"{len(bad)} bad lines" in out
    for number, fault in bad.items():
        assert any(line.startswith(f"{name}:{number}: ") and fault in line for line in out.splitlines()), out


def test_samples_lengths_labels_tokens(capsys):
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc"]) + "\n")
    rows = "".join(f"{i % 2}\t{'a b c'[: 1 + 2 * (i % 3)]}\n" for i in range(9000))
    flags = ["--vocab_path", "vocab.txt", "--samples", "2"]
    code, out = check(capsys, "t.tsv", "label\ttext_a\n" + rows, *flags)
    assert code == 0 and "9,001 lines" in out
    assert "2 different labels: 0 (4,500), 1 (4,500)" in out
    assert (
        "line 2:\n  0  →" in out and "  a b  →  a b\n" in out.replace("line 3:", "") and "line 4" not in out
    )
    assert "tokens of a line: 1 to 3, mean 2.0" in out


def test_many_labels_are_counted(capsys):
    code, out = check(capsys, "t.tsv", "text_a\tlabel\n" + "".join(f"x\t{i}\n" for i in range(100)))
    assert "100 different labels\n" in out and code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"UERDATA\0rest",
            r"this is a dataset of preprocess\.py; look at it with scripts/inspect_dataset\.py",
        ),
        (b"\x80\x04\x95rest", "this is a pickle .* it is not opened"),
        (b"PK\x03\x04rest", "this is not text in UTF-8: the file is a zip archive"),
        ("x".encode("utf-16"), "looks like UTF-16"),
        (b"\n\n \n", "holds no text, only blank lines"),
        (b"", "the corpus is empty"),
    ],
)
def test_files_that_are_no_text(content, message):
    Path("x.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        check_data.main(["x.txt"])


def test_several_files(capsys):
    Path("a.txt").write_text("x\n")
    Path("b.jsonl").write_text("{\n")
    assert check_data.main(["a.txt", "b.jsonl"]) == 1
    out = capsys.readouterr().out
    assert "a.txt: text" in out and "b.jsonl: " in out


def test_real_files(shared, capsys):
    data = shared / "data"
    files = [data / "corpora" / "book_review_cls.txt", *sorted((data / "datasets").glob("*/dev.*"))]
    assert check_data.main([*map(str, files)]) == 0
    out = capsys.readouterr().out
    assert "20,000 lines" in out and out.count("(task file)") == len(files) - 1
