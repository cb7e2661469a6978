"""ELECTRA, ERNIE-Health, StructBERT and PERT: what is hidden, moved and counted, by the definitions."""

import numpy as np
import pytest

from uer.config.preprocess import InstanceOptions, MaskingOptions
from uer.data.batch import IGNORE
from uer.data.objectives.pert import permuted
from uer.data.objectives.structbert import shuffled, trigrams
from uer.data.pretrain_data import PretrainData
from uer.errors import ConfigError, DataError

CLS, SEP, MASK, PAD = 2, 3, 4, 0
FIRST = 5  # id of the word 0


def lines(count=40, words=50):
    return "".join(" ".join(map(str, range(row, row + words))) + "\n" for row in range(count))


def documents(count=8, sentences=6, words=7):
    """Document d holds the sentences of words 100·d, …, each word once."""
    return "\n\n".join(
        "\n".join(
            " ".join(str(100 * doc + words * row + word) for word in range(words)) for row in range(sentences)
        )
        for doc in range(count)
    )


def batches(store, count=6, size=8, **masking):
    data = PretrainData(store, batch_size=size, seed=3, masking=MaskingOptions(**masking))
    return [data.get(step) for step in range(count)]


def test_electra_hides_85_of_100_and_counts_every_token(make):
    store = make(lines(200), "electra", seq_length=64)
    assert "mask_token" not in store and store.header["masking"] is None
    hidden = kept = 0
    for batch in batches(store, 20, mask_rate=0.3):
        src, seg, labels = batch.inputs["src"], batch.inputs["seg"], batch.labels["mlm"]
        chosen = labels != IGNORE
        assert batch.counts == {"mlm": int(chosen.sum()), "rtd": int((seg > 0).sum())}
        assert np.array_equal(chosen.sum(1), np.rint(0.3 * (seg > 0).sum(1)))
        text = np.where(chosen, labels, src)
        assert (text[:, 0] == CLS).all() and not (text == MASK).any()
        assert ((src[chosen] == MASK) | (src[chosen] == labels[chosen])).all()
        hidden, kept = hidden + int((src == MASK).sum()), kept + int((src[chosen] == labels[chosen]).sum())
    assert hidden / (hidden + kept) == pytest.approx(0.85, abs=5 * (0.85 * 0.15 / (hidden + kept)) ** 0.5)


def test_electra_rows_may_be_packed(make):
    store = make("1 2 3\n4 5 6 7\n8 9\n" * 30, "electra", seq_length=16, packing=True)
    batch = batches(store, 1)[0]
    assert batch.inputs["doc"].max() > 1 and batch.counts["rtd"] == int((batch.inputs["seg"] > 0).sum())


def test_ernie_health_gives_each_text_twice_with_masks_of_its_own(make):
    store = make(lines(), "ernie_health", seq_length=64)
    differ = 0
    for batch in batches(store):
        src, seg, labels = batch.inputs["src"], batch.inputs["seg"], batch.labels["mlm"]
        assert src.shape == seg.shape == labels.shape == (8, 2, 52) and len(batch.ids) == 8
        text = np.where(labels != IGNORE, labels, src)
        assert np.array_equal(text[:, 0], text[:, 1]) and np.array_equal(seg[:, 0], seg[:, 1])
        differ += int((labels[:, 0] != labels[:, 1]).any(axis=1).sum())
        hidden = int((labels != IGNORE).sum())
        counts = {"mlm": hidden, "rtd": int((seg > 0).sum()), "mts": hidden, "csp": 16}
        assert batch.counts == counts
    assert differ > 40


def test_pert_says_where_the_token_that_belongs_here_stands(make):
    store = make(lines(), "pert", seq_length=64)
    stays = moves = 0
    for batch in batches(store, 12, mask_rate=0.3):
        src, labels = batch.inputs["src"], batch.labels["pert"]
        chosen = labels != IGNORE
        assert batch.counts == {"pert": int(chosen.sum())} and not (src == MASK).any()
        row, column = np.nonzero(chosen)
        assert np.array_equal(chosen.sum(1), np.rint(0.3 * (batch.inputs["seg"] > 0).sum(1)))
        # The words of a line follow each other, so the text is known without the dataset.
        first = np.array([np.bincount((src[i, 1:51] - np.arange(50)).clip(0)).argmax() for i in range(8)])
        text = first[:, None] + np.arange(-1, 51)
        assert np.array_equal(src[row, labels[chosen]], text[row, column])
        assert np.array_equal(src[~chosen][src[~chosen] > SEP], text[~chosen][src[~chosen] > SEP])
        assert np.array_equal(np.sort(src[:, 1:51], axis=1), text[:, 1:51])
        stays += int((labels[chosen] == column).sum())
        moves += int(chosen.sum())
    # One in ten stays, and one in the number of those that move comes back to its own place.
    assert 0.1 < stays / moves < 0.25


def test_permuted_moves_within_rows_only():
    src = np.arange(60).reshape(3, 20)
    chosen = np.zeros(src.shape, bool)
    chosen[:2, 3:13] = True
    out, labels = permuted(src, chosen, np.ones(20, bool), np.random.default_rng(0))
    assert np.array_equal(np.sort(out, axis=1), src) and np.array_equal(out[2], src[2])
    assert np.array_equal(np.sort(labels[:2, 3:13], axis=1), np.tile(np.arange(3, 13), (2, 1)))
    assert (labels[~chosen] == IGNORE).all() and not np.array_equal(out, src)
    assert np.array_equal(np.take_along_axis(out[:2], labels[:2, 3:13], axis=1), src[:2, 3:13])
    none, labels = permuted(src, chosen, np.zeros(20, bool), np.random.default_rng(0))
    assert np.array_equal(none, src) and np.array_equal(labels[chosen], np.nonzero(chosen)[1])


def test_structbert_has_three_kinds_of_pairs(make):
    store = make(documents(40, 12), "structbert", seq_length=48, short_seq_prob=0.0)
    tokens = np.asarray(store["tokens"]).astype(int) - FIRST
    labels = np.asarray(store["label"])
    assert "mask_token" not in store
    for place, kind in enumerate(labels):
        starts, sizes = (
            [int(store[f"{side}_{what}"][place]) for side in "ab"] for what in ("start", "length")
        )
        a, b = (tokens[start : start + size] for start, size in zip(starts, sizes))
        same = a[0] // 100 == b[0] // 100
        assert same == (kind < 2)
        if kind == 0:
            assert b[0] > a[-1]
        elif kind == 1:
            assert b[-1] < a[0]
    several = np.bincount(labels, minlength=3)
    assert several.min() > 0.15 * len(labels)


def test_structbert_shuffles_tri_grams_that_are_not_hidden(make):
    store = make(documents(), "structbert", seq_length=48)
    moved = 0
    for batch in batches(store, 10):
        src, labels, order = batch.inputs["src"], batch.labels["mlm"], batch.labels["mlm_order"]
        assert set(np.unique(batch.labels["sp"])) <= {0, 1, 2}
        assert not ((labels != IGNORE) & (order != IGNORE)).any()
        rows, columns = np.nonzero(order != IGNORE)
        rows, columns = rows.reshape(-1, 3), columns.reshape(-1, 3)
        assert (np.diff(columns, axis=1) == 1).all() and (np.diff(rows, axis=1) == 0).all()
        was, now = order[rows, columns], src[rows, columns]
        assert (np.diff(was, axis=1) == 1).all()  # the text counts upwards within a sentence pair's half
        assert np.array_equal(np.sort(now, axis=1), was)
        assert not np.isin(was, [CLS, SEP, MASK, PAD]).any()
        moved += int((was != now).any(axis=1).sum())
        expected = {name: int((x != IGNORE).sum()) for name, x in batch.labels.items()}
        assert batch.counts == expected
    assert moved > 20


def test_the_rate_of_tri_grams_of_a_run(make):
    store = make(documents(), "structbert", seq_length=48)
    few, many = (
        sum(batch.counts["mlm_order"] for batch in batches(store, 5, trigram_rate=rate))
        for rate in (0.05, 0.9)
    )
    assert many > 4 * few > 0


def test_the_rate_of_tri_grams_is_that_of_the_option():
    rng = np.random.default_rng(1)
    src = rng.integers(5, 1000, (2000, 60))
    free = np.zeros(src.shape, bool)
    free[:, 1:32] = free[:, 33:59] = True
    for rate in (0.05, 0.3):
        out, labels = shuffled(src, free, rate, rng)
        taken = (labels != IGNORE).sum(1) // 3
        # 31 and 26 free tokens hold 9 or 10, and 8, tri-grams, by the phase.
        assert set(np.unique(taken)) <= {max(1, round(rate * n)) for n in (17, 18)}
        moved = (out != src).reshape(-1)[np.flatnonzero(labels != IGNORE)].reshape(-1, 3).any(axis=1)
        assert moved.mean() == pytest.approx(5 / 6, abs=0.03)  # one of the six orders is the old one
    assert shuffled(src, np.zeros_like(free), 0.3, rng)[1].max() == IGNORE


def test_tri_grams_lie_in_runs_and_begin_anywhere():
    free = np.zeros((300, 14), bool)
    free[:, 2:9] = free[:, 10:12] = True
    begins = trigrams(free, np.random.default_rng(2))
    assert not begins[:, 7:].any() and not begins[:, :2].any()
    assert {tuple(np.flatnonzero(row)) for row in begins} == {(2, 5), (3, 6), (4,)}
    assert not trigrams(np.ones((5, 2), bool), np.random.default_rng(2)).any()


def test_structbert_needs_other_documents(make):
    with pytest.raises(DataError, match="--data_processor structbert draws random second texts from other"):
        make("1 2 3\n4 5 6\n", "structbert", seq_length=16)


@pytest.mark.parametrize("name", ["electra", "ernie_health", "pert", "structbert"])
def test_one_copy_is_enough(name):
    assert InstanceOptions(data_processor=name, dup_factor=5).copies == 1


def test_flags_of_blocks_and_chunks(make):
    whole = make(lines(30, 5), "pert", seq_length=64, full_sentences=True, name="full.pt")
    apart = make(lines(30, 5), "pert", seq_length=64)
    assert len(apart) == 30 and len(whole) == -(-30 * 7 // 64)
    assert InstanceOptions(data_processor="structbert", short_seq_prob=0.5).short_seq_prob == 0.5
    with pytest.raises(ConfigError, match="--packing has no meaning for --data_processor pert"):
        InstanceOptions(data_processor="pert", packing=True)
    with pytest.raises(ConfigError, match="--full_sentences has no meaning for --data_processor structbert"):
        InstanceOptions(data_processor="structbert", full_sentences=True)


def test_the_same_step_gives_the_same_batch(make):
    for name in ("electra", "ernie_health", "pert"):
        store = make(lines(), name, seq_length=32, name=f"{name}.pt")
        one, other = (batches(store, 3)[2] for _ in range(2))
        assert all(np.array_equal(one.inputs[key], other.inputs[key]) for key in one.inputs)
        assert not np.array_equal(one.inputs["src"], batches(store, 2)[1].inputs["src"])
