"""Instances and batches of mlm, lm, cls against their definitions in plain Python."""

import numpy as np
import pytest

from uer.config.preprocess import DATA_PROCESSORS, MaskingOptions
from uer.data.batch import IGNORE
from uer.data.objectives import OBJECTIVES
from uer.data.pretrain_data import PretrainData, objective_of
from uer.errors import DataError
from uer.utils.lazy import load

PAD, UNK, CLS, SEP, MASK, FIRST = 0, 1, 2, 3, 4, 5


def text(start, count):
    return " ".join(map(str, range(start, start + count)))


def whole(store, masking=None, seed=0):
    """All instances as one batch."""
    objective = objective_of(store, masking)
    return objective.batch(store, np.arange(len(store)), np.random.default_rng(seed))


def blocks(documents, size):
    out = []
    for ids in documents:
        ids = [CLS, *(number + FIRST for number in ids), SEP]
        out += [ids[at : at + size] for at in range(0, len(ids), size)]
    return out


DOCUMENTS = [range(0, 9), range(10, 11), range(20, 45), range(50, 57)]
CORPUS = "\n\n".join(text(d.start, len(d)) for d in DOCUMENTS)  # blank lines; no newline at the end


def test_the_table_names_classes_that_say_the_same():
    assert set(OBJECTIVES) == set(DATA_PROCESSORS)
    for name, target in OBJECTIVES.items():
        assert load(target).name == name


def test_lm_blocks_and_labels(make):
    store = make(CORPUS, "lm", seq_length=8)
    batch = whole(store)
    wanted = [block for block in blocks(DOCUMENTS, 9) if len(block) > 1]
    got = []
    for src, seg, labels in zip(batch.inputs["src"], batch.inputs["seg"], batch.labels["lm"]):
        size = int(seg.sum())
        assert set(seg[:size]) == {1} and not seg[size:].any() and (src[size:] == PAD).all()
        assert (labels[:size] != IGNORE).all() and (labels[size:] == IGNORE).all()
        assert np.array_equal(src[1:size], labels[: size - 1])
        got.append([*src[:size], labels[size - 1]])
    assert got == wanted
    assert batch.counts == {"lm": sum(len(block) - 1 for block in wanted)}


def test_an_id_of_zero_is_a_label_and_not_padding(make):
    """Labels end by length: the pad id in a text is a token as any other."""
    store = make("1 [PAD] 2", "lm", seq_length=8)
    batch = whole(store)
    assert batch.labels["lm"].tolist() == [[FIRST + 1, PAD, FIRST + 2, SEP]]


def test_mlm_blocks(make):
    store = make(CORPUS, "mlm", seq_length=8, dynamic_masking=True)
    batch = whole(store)
    src = np.where(batch.labels["mlm"] == IGNORE, batch.inputs["src"], batch.labels["mlm"])
    got = [row[: int(seg.sum())].tolist() for row, seg in zip(src, batch.inputs["seg"])]
    assert got == [block for block in blocks(DOCUMENTS, 8) if set(block) - {CLS, SEP}]
    assert batch.counts["mlm"] == sum(max(1, round(0.15 * len(row))) for row in got)


def test_mlm_full_sentences_cross_documents(make):
    store = make(CORPUS, "mlm", seq_length=8, dynamic_masking=True, full_sentences=True)
    batch = whole(store)
    src = np.where(batch.labels["mlm"] == IGNORE, batch.inputs["src"], batch.labels["mlm"])
    stream = [token for document in DOCUMENTS for token in blocks([document], 999)[0]]
    assert src[src != PAD].tolist() == stream
    assert (batch.inputs["seg"][:-1] == 1).all()


def test_static_masks_are_in_the_dataset_and_differ_between_copies(make):
    store = make(CORPUS, "mlm", seq_length=8, dup_factor=3)
    plain = make(CORPUS, "mlm", seq_length=8, dynamic_masking=True, name="plain.pt")
    first, second = whole(store, seed=1), whole(store, seed=2)
    assert np.array_equal(first.inputs["src"], second.inputs["src"])
    n = len(plain)
    assert len(store) == 3 * n
    labels = first.labels["mlm"]
    original = np.where(labels == IGNORE, first.inputs["src"], labels)
    unmasked = whole(plain)
    unmasked = np.where(unmasked.labels["mlm"] == IGNORE, unmasked.inputs["src"], unmasked.labels["mlm"])
    for copy in range(3):
        assert np.array_equal(original[copy * n : copy * n + n], unmasked)
    assert not np.array_equal(labels[:n], labels[n : 2 * n])
    sizes = first.inputs["seg"].sum(axis=1)
    wanted = np.minimum(np.maximum(1, np.rint(0.15 * sizes)), 6)
    assert np.array_equal((labels != IGNORE).sum(axis=1), wanted)


def test_dynamic_masks_change_from_batch_to_batch_and_follow_the_flags(make):
    store = make(text(0, 900), "mlm", seq_length=128, dynamic_masking=True)
    first, again, other = whole(store, seed=1), whole(store, seed=1), whole(store, seed=2)
    assert np.array_equal(first.inputs["src"], again.inputs["src"])
    assert not np.array_equal(first.inputs["src"], other.inputs["src"])
    many = whole(store, MaskingOptions(mask_rate=0.5))
    assert many.counts["mlm"] > 3 * first.counts["mlm"]


def test_cls_rows(make):
    store = make(
        f"1\t{text(0, 3)}\n0\t{text(10, 2)}\t{text(20, 3)}\n\n2\t{text(30, 20)}\n", "cls", seq_length=9
    )
    batch = whole(store)
    assert batch.inputs["src"].tolist() == [
        [CLS, 5, 6, 7, SEP, PAD, PAD, PAD, PAD],
        [CLS, 15, 16, SEP, 25, 26, 27, SEP, PAD],
        [CLS, *range(35, 43)],
    ]
    assert batch.inputs["seg"].tolist() == [
        [1, 1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 2, 2, 2, 2, 0],
        [1] * 9,
    ]
    assert batch.labels["cls"].tolist() == [1, 0, 2] and batch.counts == {"cls": 3}
    assert store.header["labels_num"] == 3 and store.header["counts"]["over_length"] == 1


def test_cls_labels_must_be_numbers(make):
    with pytest.raises(
        DataError, match=r"corpus\.txt:3: the label is 'good'; it must be an integer of 0 or more"
    ):
        make("1\ta\n0\tb\ngood\tc\n", "cls")


def test_lines_of_another_shape_are_counted(make, caplog):
    with caplog.at_level("WARNING", logger="uer"):
        store = make("1\ta\nno tab\n\n0\tb\n1\t2\t3\t4\n", "cls")
    assert len(store) == 2 and store.header["counts"]["malformed_lines"] == 2
    assert (
        "2 lines do not have the columns of this data processor and were skipped; the first is line 2"
        in caplog.text
    )
    with pytest.raises(DataError, match=r"none of its 1 lines has the form label<TAB>text"):
        make("no tab\n", "cls")


def test_batches_are_a_function_of_seed_and_step(make):
    store = make("\n".join(text(i * 20, 15) for i in range(200)), "mlm", seq_length=32, dynamic_masking=True)
    data = PretrainData(store, batch_size=16, seed=3)
    late = data.get(1000)
    fresh = PretrainData(store, batch_size=16, seed=3).get(1000)
    assert np.array_equal(late.inputs["src"], fresh.inputs["src"]) and np.array_equal(late.ids, fresh.ids)
    assert not np.array_equal(late.ids, PretrainData(store, batch_size=16, seed=4).get(1000).ids)
    seen = np.concatenate([data.get(step).ids for step in range(25)])
    assert np.array_equal(np.sort(seen[:200]), np.arange(200)) and data.epoch(25) == 2
    ranks = [PretrainData(store, batch_size=8, seed=3, rank=rank, world_size=2) for rank in range(2)]
    ids = np.concatenate([ranks[0].get(5).ids, ranks[1].get(5).ids])
    assert set(ids) == set(data.get(5).ids)
    assert data.targets == ("mlm",)


def test_batches_of_like_length(make):
    lines = [text(0, 1 + (i * 7) % 60) for i in range(640)]
    store = make("\n".join(lines), "lm", seq_length=64)
    plain = PretrainData(store, batch_size=8)
    grouped = PretrainData(store, batch_size=8, group_by_length=True)

    def padding(data):
        segs = [data.get(step).inputs["seg"] for step in range(64)]
        return sum((seg == 0).sum() for seg in segs) / sum(seg.size for seg in segs)

    assert padding(grouped) < 0.1 < padding(plain)


def test_fewer_instances_than_a_step_takes(make):
    store = make("1 2 3", "lm")
    with pytest.raises(DataError, match=r"has 1 instances and a step takes 8; use a smaller --batch_size"):
        PretrainData(store, batch_size=4, world_size=2)


def test_masking_flags_without_effect_are_reported(make, caplog):
    store = make(CORPUS, "mlm", seq_length=8)
    with caplog.at_level("WARNING", logger="uer"):
        PretrainData(store, batch_size=1, masking=MaskingOptions(span_masking=True))
    assert "masking flags have no effect here; preprocess with --dynamic_masking" in caplog.text
