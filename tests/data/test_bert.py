"""Pairs of sentences: true and random continuations, lengths, coverage, against the definition."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uer.data.batch import IGNORE
from uer.data.objectives.bert import Documents, Pairs, trim
from uer.data.pretrain_data import objective_of
from uer.errors import DataError

PAD, CLS, SEP, FIRST = 0, 2, 3, 5


def corpus(sizes, ends="\n"):
    """Documents of sentences of the given sizes; every token of the corpus is another number."""
    number, documents = 0, []
    for sentences in sizes:
        lines = []
        for size in sentences:
            lines.append(" ".join(str((number + i) % 5000) for i in range(size)))
            number += size
        documents.append("\n".join(lines))
    return "\n\n".join(documents) + ends


def unmasked(store, seed=0):
    batch = objective_of(store).batch(store, np.arange(len(store)), np.random.default_rng(seed))
    labels = batch.labels["mlm"]
    return np.where(labels == IGNORE, batch.inputs["src"], labels), batch


def parsed(store):
    """(a, b, label) of every instance, as token numbers."""
    src, batch = unmasked(store)
    out = []
    for row, seg, label in zip(src, batch.inputs["seg"], batch.labels["sp"]):
        first, second = row[seg == 1], row[seg == 2]
        assert first[0] == CLS and first[-1] == SEP and second[-1] == SEP and (row[seg == 0] == PAD).all()
        out.append((first[1:-1] - FIRST, second[:-1] - FIRST, int(label)))
    return out


SIZES = [[7, 5, 9, 4, 6, 8, 3], [5], [6, 6, 6, 6, 6, 6, 6, 6], [4, 9], [10, 2, 2, 2, 12, 5]] * 20


def test_pairs_follow_the_definition(make):
    store = make(corpus(SIZES), "bert", seq_length=32, dynamic_masking=True, short_seq_prob=0.0)
    number, document_of = 0, {}
    for index, sentences in enumerate(SIZES):
        for _ in range(sum(sentences)):
            document_of[number] = index
            number += 1
    seen: Counter = Counter()
    for a, b, label in parsed(store):
        assert len(a) and len(b) and len(a) + len(b) <= 29
        assert (np.diff(a) == 1).all() and (np.diff(b) == 1).all()
        assert len({document_of[n] for n in (*a, *b)}) == (2 if label else 1)
        if not label:
            assert b[0] >= a[-1] + 1
        seen.update(a.tolist())
        seen.update(b.tolist() if not label else [])
    # No text is used twice but by random second parts; what is missing was trimmed from over-long pairs.
    assert max(seen.values()) == 1
    assert {document_of[n] for n in seen} == set(range(len(SIZES)))
    assert len(seen) > 0.7 * number


def test_half_of_the_second_parts_are_random_and_lone_sentences_always(make):
    store = make(corpus([[6] * 40] * 60), "bert", seq_length=64, dynamic_masking=True, short_seq_prob=0.0)
    labels = store["label"]
    # A chunk of several sentences is random with probability one half; the rest at the end may be one
    # sentence.
    assert abs(labels.mean() - 0.5) < 0.08
    store = make(corpus([[6], [7], [8]] * 10), "bert", seq_length=64, dynamic_masking=True)
    assert store["label"].tolist() == [1] * 30


def test_short_instances_come_with_their_probability(make):
    def mean_length(probability):
        store = make(
            corpus([[5] * 30] * 60), "bert", seq_length=128, dynamic_masking=True, short_seq_prob=probability
        )
        return (store["a_length"] + store["b_length"]).mean(), len(store)

    full, half = mean_length(0.0), mean_length(1.0)
    assert half[0] < 0.75 * full[0] and half[1] > 1.2 * full[1]


def test_copies_are_drawn_anew(make):
    one = make(corpus(SIZES), "bert", seq_length=32, dynamic_masking=True)
    three = make(corpus(SIZES), "bert", seq_length=32, dup_factor=3, name="three.pt")
    assert 2 * len(one) < len(three) < 4 * len(one)
    assert len(three["tokens"]) == len(one["tokens"])  # the text is stored once
    _, batch = unmasked(three)
    assert batch.counts["sp"] == len(three)
    sizes = (batch.inputs["seg"] > 0).sum(axis=1)
    budget = np.minimum(np.maximum(1, np.rint(0.15 * sizes)), sizes - 3)
    assert np.array_equal((batch.labels["mlm"] != IGNORE).sum(axis=1), budget)


def test_the_last_document_needs_no_blank_line(make):
    for ends in ("", "\n", "\n\n", "\n \n\n"):
        store = make(corpus([[5, 5, 5], [6, 6, 6]], ends), "bert", seq_length=32, dynamic_masking=True)
        assert store.header["counts"]["documents"] == 2
        assert any((b >= 15).any() or (a >= 15).any() for a, b, _ in parsed(store))


def test_sentences_and_documents_without_tokens_are_none(make):
    store = make("1 2\n\n\n \n3 4\n\u3000\n\n5 6\n7\n", "bert", seq_length=16, dynamic_masking=True)
    assert store.header["counts"]["documents"] == 3


def test_one_document_only(make):
    for text in (corpus([[5, 6, 7]]), "\n\n" + corpus([[5, 6, 7]]) + "\n\n"):
        with pytest.raises(
            DataError, match="holds only one document; write one sentence a line and an empty line"
        ):
            make(text, "bert", dynamic_masking=True)


def reference_trim(a, b, longest):
    """The definition, a token at a time: how many each side loses."""
    lost = [0, 0]
    while a + b > longest:
        if a > b:
            a, lost[0] = a - 1, lost[0] + 1
        else:
            b, lost[1] = b - 1, lost[1] + 1
    return lost


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=20), st.integers(2, 50)
)
def test_trimming_at_once_equals_trimming_by_tokens(sizes, longest):
    a, b = np.array(sizes).T
    zero = np.zeros(len(a), np.int64)
    cut = trim(Pairs(zero, a, zero, b, zero), longest, np.random.default_rng(0))
    wanted = np.array([reference_trim(*size, longest) for size in sizes])
    assert np.array_equal(a - cut.a_length, wanted[:, 0]) and np.array_equal(b - cut.b_length, wanted[:, 1])
    assert (cut.a_start >= 0).all() and (cut.a_start + cut.a_length <= a).all()
    assert (cut.b_start + cut.b_length <= b).all()


def test_trimming_takes_from_both_ends_evenly():
    n = 4000
    sizes = np.full(n, 30)
    zero = np.zeros(n, np.int64)
    cut = trim(Pairs(zero, sizes, zero, sizes, zero), 40, np.random.default_rng(1))
    assert abs(cut.a_start.mean() - 5) < 5 * np.sqrt(2.5 / n)  # binomial of 10 at one half
    assert abs(cut.a_start.var() - 2.5) < 0.4


def test_documents_drop_what_is_empty():
    class Part:
        lengths = np.array([3, 0, 0, 2, 4, 0])
        documents = np.array([0, 2, 3, 6])
        own = 2

    documents = Documents.of(Part)
    assert documents.offsets.tolist() == [0, 3, 5, 9]
    assert documents.borders.tolist() == [0, 1, 3] and documents.own == 1
