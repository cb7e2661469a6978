"""bilm, albert, cls_mlm, packing and texts that are too long."""

import numpy as np
import pytest

from uer.config.preprocess import InstanceOptions
from uer.data.batch import IGNORE
from uer.data.packing import next_fit
from uer.data.pretrain_data import objective_of
from uer.errors import ConfigError, DataError

PAD, CLS, SEP, FIRST = 0, 2, 3, 5


def text(start, count):
    return " ".join(map(str, range(start, start + count)))


def whole(store, seed=0):
    return objective_of(store).batch(store, np.arange(len(store)), np.random.default_rng(seed))


def restored(batch):
    labels = batch.labels["mlm"]
    return np.where(labels == IGNORE, batch.inputs["src"], labels)


def test_bilm(make):
    store = make(f"{text(0, 8)}\n\n{text(50, 5)}\n9\n", "bilm", seq_length=5)
    batch = whole(store)
    blocks = [range(5, 10), range(10, 13), range(55, 60), range(14, 15)]
    for row, block in enumerate(blocks):
        block, size = list(block), len(block)
        assert batch.inputs["src"][row, :size].tolist() == block
        assert batch.inputs["seg"][row].tolist() == [1] * size + [0] * (5 - size)
        assert batch.labels["bilm_forward"][row].tolist() == [*block[1:], SEP] + [IGNORE] * (5 - size)
        assert batch.labels["bilm_backward"][row].tolist() == [CLS, *block[:-1]] + [IGNORE] * (5 - size)
    assert batch.counts == {"bilm_forward": 14, "bilm_backward": 14}


def test_albert(make):
    sizes = [[6, 5, 7, 4, 6, 8] * 3, [9], [1], [3, 3]] * 30
    number, lines, spans = 0, [], []
    for sentences in sizes:
        spans.append((number, number + sum(sentences)))
        for size in sentences:
            lines.append(text(number, size))
            number += size
        lines.append("")
    store = make("\n".join(lines[:-1]), "albert", seq_length=30, dynamic_masking=True, short_seq_prob=0.0)
    batch = whole(store)
    swapped, seen = [], []
    for row, seg, label in zip(restored(batch), batch.inputs["seg"], batch.labels["sp"]):
        a, b = row[seg == 1][1:-1] - FIRST, row[seg == 2][:-1] - FIRST
        assert len(a) and len(b) and (np.diff(a) == 1).all() and (np.diff(b) == 1).all()
        assert (b[0] > a[-1]) == (label == 0)
        document = [begin <= a[0] < end for begin, end in spans]
        assert document == [begin <= b[0] < end for begin, end in spans]
        swapped.append(label)
        seen += [*a.tolist(), *b.tolist()]
    assert abs(np.mean(swapped) - 0.5) < 0.15
    assert len(seen) == len(set(seen))
    # All text but documents of one token and what is trimmed from over-long pairs.
    assert len(seen) > 0.85 * number


def test_cls_mlm(make):
    store = make(f"1\t{text(0, 3)}\n0\t{text(10, 2)}\t{text(20, 3)}\n", "cls_mlm", seq_length=16)
    batch = whole(store)
    assert restored(batch).tolist() == [
        [CLS, 5, 6, 7, SEP, PAD, PAD, PAD],
        [CLS, 15, 16, SEP, 25, 26, 27, SEP],
    ]
    assert batch.labels["cls"].tolist() == [1, 0] and batch.counts == {"mlm": 2, "cls": 2}
    assert store.header["masking"] is not None and len(store) == 2


def test_next_fit():
    assert next_fit(np.array([3, 3, 3, 9, 1, 1, 8]), 10).tolist() == [3, 2, 2]
    assert next_fit(np.array([3, 3, 3]), 10, np.array([1, 3, 3])).tolist() == [1, 2]
    assert next_fit(np.zeros(0, np.int64), 10).tolist() == []


DOCUMENTS = [range(0, 4), range(10, 12), range(20, 45), range(50, 51), range(60, 66)]
CORPUS = "\n".join(text(d.start, len(d)) for d in DOCUMENTS)


@pytest.mark.parametrize("processor", ["lm", "mlm"])
def test_packed_documents(make, processor):
    flags = {"dynamic_masking": True} if processor == "mlm" else {}
    store = make(CORPUS, processor, seq_length=12, packing=True, **flags)
    batch = whole(store)
    src, doc = batch.inputs["src"] if processor == "lm" else restored(batch), batch.inputs["doc"]
    assert src.shape[1] <= 12 and np.array_equal(doc > 0, batch.inputs["seg"] > 0)
    pieces = []
    for row, numbers in zip(src, doc):
        for number in range(1, numbers.max() + 1):
            pieces.append(row[numbers == number].tolist())
    wanted = []
    for document in DOCUMENTS:
        ids = [CLS, *(n + FIRST for n in document), SEP]
        wanted += [ids[at : at + 12] for at in range(0, len(ids), 12)]
    assert pieces == wanted
    assert len(store) < len(wanted)
    if processor == "lm":
        labels = []
        for row, numbers in zip(batch.labels["lm"], doc):
            for number in range(1, numbers.max() + 1):
                labels.append(row[numbers == number].tolist())
        assert labels == [[*piece[1:], IGNORE] for piece in wanted]


def test_packed_rows_of_classes(make):
    rows = [
        f"{i % 3}\t{text(100 * i, 2 + i % 5)}" + (f"\t{text(900 + i, 2)}" if i % 2 else "") for i in range(9)
    ]
    plain, packed = (
        make("\n".join(rows), "cls", seq_length=24),
        make("\n".join(rows), "cls", seq_length=24, packing=True, name="packed.pt"),
    )
    alone, together = whole(plain), whole(packed)
    assert together.labels["cls"].tolist() == alone.labels["cls"].tolist() and together.counts == alone.counts
    got = []
    for src, seg, doc in zip(together.inputs["src"], together.inputs["seg"], together.inputs["doc"]):
        got += [(src[doc == n].tolist(), seg[doc == n].tolist()) for n in range(1, doc.max() + 1)]
    wanted = []
    for src, seg in zip(alone.inputs["src"], alone.inputs["seg"]):
        wanted.append((src[seg > 0].tolist(), seg[seg > 0].tolist()))
    assert got == wanted and len(packed) < len(plain)


def test_static_masks_of_packed_rows(make):
    store = make(CORPUS, "mlm", seq_length=12, packing=True, dup_factor=2)
    plain = make(CORPUS, "mlm", seq_length=12, packing=True, dynamic_masking=True, name="plain.pt")
    assert np.array_equal(restored(whole(store))[: len(plain)], restored(whole(plain)))
    assert np.array_equal(whole(store).inputs["doc"][len(plain) :], whole(plain).inputs["doc"])


@pytest.mark.parametrize(
    ("processor", "policy", "sizes"),
    [
        ("lm", None, [5, 8, 8, 8, 4]),
        ("lm", "truncate", [5, 8, 4]),
        ("lm", "drop", [5, 4]),
        ("mlm", "split", [6, 8, 8, 8, 3, 5]),
        ("mlm", "truncate", [6, 8, 5]),
        ("mlm", "drop", [6, 5]),
        ("bilm", None, [4, 8, 8, 8, 1, 3]),
        ("bilm", "drop", [4, 3]),
    ],
)
def test_long_lines(make, processor, policy, sizes, caplog):
    flags = {"dynamic_masking": True} if processor == "mlm" else {}
    corpus = f"{text(0, 4)}\n{text(100, 25)}\n{text(200, 3)}"
    with caplog.at_level("WARNING", logger="uer"):
        store = make(corpus, processor, seq_length=8, overflow=policy, **flags)
    assert (whole(store).inputs["seg"] > 0).sum(axis=1).tolist() == sizes
    assert store.header["counts"]["over_length"] == 1
    how = {None: "split", "split": "split", "truncate": "cut", "drop": "left out"}[policy]
    assert f"1 texts were longer than an instance and were {how}" in caplog.text


@pytest.mark.parametrize(
    ("processor", "corpus"),
    [
        ("lm", f"1 2\n{text(0, 30)}\n"),
        ("cls", f"1\t2\n0\t{text(0, 30)}\n"),
        ("mt", f"1\t2\n3\t{text(0, 30)}\n"),
        ("prefixlm", f"1\t2\n3\t{text(0, 30)}\n"),
        ("bert", f"1 2\n{text(0, 30)}\n\n4\n"),
        ("gsg", f"1 2\n{text(0, 30)}\n\n4\n"),
        ("bart", f"1 2\n{text(0, 30)}\n\n4\n"),
    ],
)
def test_long_texts_can_stop_the_run(make, processor, corpus):
    with pytest.raises(
        DataError, match=r"corpus\.txt:2: the text has \d+ tokens and an instance has room for \d+"
    ):
        make(corpus, processor, seq_length=16, tgt_seq_length=16, overflow="error")


@pytest.mark.parametrize(("policy", "kept"), [(None, 40), ("split", 40), ("drop", 10), ("truncate", 23)])
def test_long_sentences(make, policy, kept):
    """Default of bart: drop. Split loses nothing."""
    store = make(f"{text(0, 5)}\n{text(100, 30)}\n{text(200, 5)}\n", "bart", seq_length=16, overflow=policy)
    labels = whole(store).labels["lm"]
    assert ((labels != IGNORE) & (labels != SEP)).sum() == (10 if policy is None else kept)
    bert = f"{text(0, 5)}\n{text(100, 30)}\n{text(200, 5)}\n\n{text(300, 6)}\n"
    store = make(bert, "bert", seq_length=16, overflow=policy, dynamic_masking=True, short_seq_prob=0.0)
    assert store.header["counts"]["over_length"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"data_processor": "bert", "packing": True},
            "--packing has no meaning for --data_processor bert, only for lm",
        ),
        (
            {"data_processor": "mlm", "packing": True, "full_sentences": True},
            "--full_sentences and --packing",
        ),
        (
            {"data_processor": "cls", "overflow": "split"},
            "--overflow split has no meaning for --data_processor cls",
        ),
        (
            {"data_processor": "lm", "overflow": "cut"},
            "--overflow is 'cut'; choose from truncate, split, drop, error",
        ),
        (
            {"data_processor": "lm", "short_seq_prob": 0.3},
            "--short_seq_prob has no meaning for --data_processor lm",
        ),
        ({"sentence_selection_strategy": "random"}, "--sentence_selection_strategy has no meaning"),
        ({"data_processor": "gsg", "dynamic_masking": True}, "--dynamic_masking has no meaning"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        InstanceOptions(**options)
