"""Every kind of input file gives the same records as plain text; every fault is named with its line."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from uer.config.preprocess import InstanceOptions, MaskingOptions, PreprocessOptions
from uer.data import build, spans
from uer.data.build import build_dataset
from uer.data.mixture import Mixture
from uer.data.pretrain_data import PretrainData
from uer.data.store import Store
from uer.errors import ConfigError, DataError, EnvironmentFault

TEXTS = [" ".join(str((i * 7 + j) % 5000) for j in range(3 + i % 9)) for i in range(300)]


def preprocess(paths, numbers, processor="lm", processes=1, weights=(), errors="strict", **options):
    files = PreprocessOptions(
        corpus_path=tuple(map(str, paths)),
        dataset_path="d.pt",
        processes_num=processes,
        corpus_weights=tuple(weights),
        encoding_errors=errors,
    )
    build_dataset(files, InstanceOptions(data_processor=processor, **options), MaskingOptions(), numbers)
    return Store("d.pt")


def write_all(rows, stem="corpus"):
    """The rows (dicts of text fields) in every format we read; returns the paths."""
    names = list(rows[0])
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    table = "\n".join("\t".join(r) for r in [names, *([row[n] for n in names] for row in rows)]).encode()
    content = {f"{stem}.jsonl": lines, f"{stem}.tsv": table}
    for name, data in list(content.items()):
        content[name + ".gz"] = gzip.compress(data)
        content[name + ".zst"] = zstandard.compress(data)
    for name, data in content.items():
        Path(name).write_bytes(data)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), f"{stem}.parquet", row_group_size=70)
    return [*content, f"{stem}.parquet"]


@pytest.mark.parametrize("span", [500, 4 << 20])
def test_all_formats_of_documents_a_line(numbers, monkeypatch, span):
    monkeypatch.setattr(spans, "SPAN", span)
    Path("corpus.txt").write_text("\n".join(TEXTS))
    plain = preprocess(["corpus.txt"], numbers)
    for path in ["corpus.txt", *write_all([{"text": text} for text in TEXTS])]:
        store = preprocess([path], numbers, processes=2)
        assert np.array_equal(store["tokens"], plain["tokens"]), path
        assert np.array_equal(store["length"], plain["length"]), path
        assert store.header["counts"]["lines"] == 300


def test_compressed_plain_text(numbers, monkeypatch):
    monkeypatch.setattr(spans, "SPAN", 300)
    corpus = "\n\n".join("\n".join(TEXTS[i : i + 5]) for i in range(0, 300, 5)).encode()
    Path("corpus.txt").write_bytes(corpus)
    Path("corpus.txt.gz").write_bytes(
        gzip.compress(corpus[:2000]) + gzip.compress(corpus[2000:])
    )  # two members
    Path("corpus.zst").write_bytes(zstandard.compress(corpus[:2000]) + zstandard.compress(corpus[2000:]))
    plain = preprocess(["corpus.txt"], numbers, "bert", dynamic_masking=True)
    for path in ("corpus.txt.gz", "corpus.zst"):
        store = preprocess([path], numbers, "bert", processes=2, dynamic_masking=True)
        for name in ("tokens", "a_start", "b_start", "label"):
            assert np.array_equal(store[name], plain[name]), (path, name)
        assert store.header["counts"]["documents"] == 60


def test_documents_in_records(numbers):
    rows = [{"text": "\n".join(TEXTS[i : i + 5])} for i in range(0, 50, 5)] + [{"text": " \n"}]
    Path("plain.txt").write_text("\n\n".join(row["text"] for row in rows))
    plain = preprocess(["plain.txt"], numbers, "bert", dynamic_masking=True)
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    store = preprocess(["rows.jsonl"], numbers, "bert", dynamic_masking=True)
    assert np.array_equal(store["a_start"], plain["a_start"]) and store.header["counts"]["documents"] == 10


def test_labelled_and_pairs(numbers):
    labelled = [{"label": str(i % 3), "text_a": text, "text_b": text} for i, text in enumerate(TEXTS)]
    Path("plain.txt").write_text("\n".join("\t".join(row.values()) for row in labelled))
    plain = preprocess(["plain.txt"], numbers, "cls")
    for path in write_all(labelled, "labelled"):
        store = preprocess([path], numbers, "cls")
        assert np.array_equal(store["label"], plain["label"]) and np.array_equal(
            store["first"], plain["first"]
        )
    pairs = [{"target": text, "source": text[::-1].replace(" ", " ")} for text in TEXTS]
    Path("plain.txt").write_text("\n".join(f"{row['source']}\t{row['target']}" for row in pairs))
    plain = preprocess(["plain.txt"], numbers, "mt")
    for path in write_all(pairs, "pairs"):
        store = preprocess([path], numbers, "mt")
        assert np.array_equal(store["tokens"], plain["tokens"]), path
        assert np.array_equal(store["tgt_tokens"], plain["tgt_tokens"]), path
    Path("numbers.jsonl").write_text('{"label": 1, "text": "5"}\n')
    assert preprocess(["numbers.jsonl"], numbers, "cls")["label"].tolist() == [1]


def test_tables_without_header_are_those_of_uer(numbers):
    Path("pairs.tsv").write_text("1 2\t3\n4\t5 6\n")
    assert len(preprocess(["pairs.tsv"], numbers, "mt")) == 2
    assert len(preprocess(["pairs.tsv"], numbers, "lm")) == 2


def test_several_files_and_patterns(numbers):
    for name in ("b.txt", "a.txt"):
        Path(name).write_text(f"{'1 2' if name == 'a.txt' else '3 4'}\n")
    Path("c.jsonl").write_text('{"text": "5 6"}\n')
    store = preprocess(["c.jsonl", "*.txt"], numbers)
    assert [n - 5 for n in store["tokens"] if n > 4] == [5, 6, 1, 2, 3, 4]
    assert [source["name"] for source in store.header["sources"]] == ["c.jsonl", "a.txt", "b.txt"]
    assert [source["first"] for source in store.header["sources"]] == [0, 1, 2]
    with pytest.raises(DataError, match=r"none\*\.txt: no file fits this pattern"):
        preprocess(["none*.txt"], numbers)


@pytest.mark.parametrize(
    ("name", "content", "processor", "message"),
    [
        ("x.jsonl", b'{"text": "1"}\n{"text"\n', "lm", r"x\.jsonl:2: this is not JSON \(.*column"),
        ("x.jsonl", b"\n" + b"[" * 9999, "lm", r"x\.jsonl:2: this is not JSON \(brackets lie too deep"),
        (
            "x.jsonl",
            b'{"text": "1"}\n\n[1]\n',
            "lm",
            r"x\.jsonl:3: this is a JSON list; a record is an object",
        ),
        (
            "x.jsonl",
            b'{"txt": "1"}\n',
            "lm",
            r"x\.jsonl:1: the field 'text' is missing; there is 'txt'\. Did you mean",
        ),
        ("x.jsonl", b'{"text": 1}\n', "lm", r"x\.jsonl:1: the field 'text' is int, not text"),
        ("x.jsonl", b'{"text": "1"}\n', "cls", r"x\.jsonl:1: the field 'label' is missing"),
        (
            "x.jsonl",
            b'{"label": "a", "text": "1"}\n',
            "cls",
            r"x\.jsonl:1: the label is 'a'; it must be an integer",
        ),
        ("x.jsonl", b'{"source": "1"}\n', "mt", r"x\.jsonl:1: the field 'target' is missing"),
        (
            "x.jsonl",
            b'{"text": "1\\ud800"}\n',
            "lm",
            r"x\.jsonl:1: the field 'text' holds the unpaired surrogate U\+D800",
        ),
        ("x.tsv", b"label\ttext_a\n1\t2\n3\n", "cls", r"x\.tsv:3: the row has 1 of 2 columns"),
        ("x.tsv", b"label\ttext_a\n1\t2\nx\t3\n", "cls", r"x\.tsv:3: the label is 'x'"),
        (
            "x.txt.gz",
            gzip.compress(b"1 2\n" * 999)[:-20],
            "lm",
            r"x\.txt\.gz: the file is damaged or cut off",
        ),
        ("x.txt.gz", b"1 2\n", "lm", r"x\.txt\.gz: the file is damaged or cut off"),
        ("x.txt.zst", zstandard.compress(b"1 2\n" * 9)[:-9] + b"abcdefghi", "lm", r"damaged or cut off"),
        ("x.parquet", b"PAR1 no", "lm", r"x\.parquet: the file is damaged or cut off"),
        (
            "x.jsonl.gz",
            gzip.compress(b'{"text": "1"}\n' * 99 + b'{"text": "\xff"}'),
            "lm",
            r"x\.jsonl\.gz:100: byte 0xff",
        ),
    ],
)
def test_faults(numbers, monkeypatch, name, content, processor, message):
    monkeypatch.setattr(spans, "SPAN", 300)
    Path(name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        preprocess([name], numbers, processor)


def test_parquet_without_a_known_column(numbers):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"content": "1"}]), "x.parquet")
    with pytest.raises(DataError, match=r"none of the columns text, .* only content; rename one"):
        preprocess(["x.parquet"], numbers)


@pytest.mark.parametrize(("errors", "kept"), [("replace", 3), ("skip", 2)])
def test_surrogates_and_nul_in_json(numbers, errors, kept):
    Path("x.jsonl").write_text('{"text": "1 \\ud800"}\n{"text": "2\\u0000 3"}\n{"text": "\\ud83d\\ude00"}\n')
    store = preprocess(["x.jsonl"], numbers, errors=errors)
    assert len(store) == kept and store.header["counts"]["nul_characters"] == 1
    counts = store.header["counts"]
    assert (counts.get("replaced_bytes", 0), counts.get("skipped_lines", 0)) == (
        (1, 0) if kept == 3 else (0, 1)
    )


def test_a_missing_package_is_named(numbers, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "zstandard", None)
    Path("x.zst").write_bytes(b"x")
    with pytest.raises(EnvironmentFault, match=r"pip install 'uer\[zstd\]'"):
        preprocess(["x.zst"], numbers)


def test_shares_of_a_mixture(numbers):
    Path("small.txt").write_text("\n".join("1 2" for _ in range(30)))
    Path("large.txt").write_text("\n".join("3 4" for _ in range(300)))
    store = preprocess(["small.txt", "large.txt"], numbers, weights=(3, 2))
    data = PretrainData(store, batch_size=10)
    assert len(data.mixture) == 750  # the large corpus once, which is two fifths
    seen = np.concatenate([data.get(step).ids for step in range(75)])
    counts = np.bincount(seen, minlength=330)
    assert (counts[:30] == 15).all() and (counts[30:] == 1).all()
    grouped = PretrainData(store, batch_size=10, group_by_length=True)
    assert len(grouped.get(3)) == 10
    with pytest.raises(ConfigError, match="--corpus_weights has 1 numbers and --corpus_path 2 words"):
        preprocess(["small.txt", "large.txt"], numbers, weights=(1,))
    Path("blank.txt").write_text("\n\n")
    with pytest.raises(DataError, match=r"blank\.txt: gave no instance, so it cannot have a share"):
        preprocess(["small.txt", "blank.txt"], numbers, weights=(1, 1))


def test_mixture_numbers():
    mixture = Mixture(
        [{"first": 5, "instances": 3, "share": 0.5}, {"first": 0, "instances": 5, "share": 0.5}]
    )
    assert mixture.sizes.tolist() == [5, 5] and len(mixture) == 10
    assert mixture(np.arange(10)).tolist() == [5, 6, 7, 5, 6, 0, 1, 2, 3, 4]
    assert mixture.over(np.arange(10) * 2)[np.array([0, 9])].tolist() == [10, 8]


def test_progress_lines(numbers, monkeypatch, caplog):
    from uer.data import progress

    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(spans, "SPAN", 500)
    Path("corpus.txt").write_text("\n".join(TEXTS))
    with caplog.at_level("INFO", logger="uer"):
        preprocess(["corpus.txt"], numbers, processes=2)
    assert (
        "(100%)" in caplog.text
        and "MB/s" in caplog.text
        and "s left" in caplog.text
        and "a worker" in caplog.text
    )
    assert build.OUTCOMES["drop"] == "left out"
