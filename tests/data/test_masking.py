"""Masking against its definition: budgets, units, proportions, and what is never touched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uer.config.preprocess import MaskingOptions
from uer.data.batch import IGNORE
from uer.data.masking import Masker, run_begins, take_in_order
from uer.errors import ConfigError

PAD, CLS, SEP, MASK, VOCAB = 0, 101, 102, 103, 1000
SPECIAL = (PAD, CLS, SEP, MASK)


def masker(**options):
    return Masker(MaskingOptions(**options), mask_id=MASK, special_ids=SPECIAL, vocab_size=VOCAB)


def rows(lengths, pairs=False, seed=0):
    """`[CLS] … [SEP]` (with a [SEP] in the middle for pairs) of the given lengths, padded."""
    rng = np.random.default_rng(seed)
    src = rng.integers(200, VOCAB, (len(lengths), max(lengths)))
    src[:, 0] = CLS
    for row, length in zip(src, lengths):
        row[length - 1] = SEP
        row[length:] = PAD
        if pairs and length > 5:
            row[length // 2] = SEP
    return src, np.array(lengths)


def test_budget_counts_special_tokens_and_rounds_half_to_even():
    lengths = list(range(3, 131))
    src, sizes = rows(lengths)
    _, labels = masker()(src, sizes, np.random.default_rng(0))
    wanted = [min(max(1, round(0.15 * n)), n - 2) for n in lengths]  # Python's own rounding
    assert (labels != IGNORE).sum(axis=1).tolist() == wanted
    assert round(0.15 * 10) == 2 == wanted[7] and round(0.15 * 30) == 4 == wanted[27]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(2, 40), min_size=1, max_size=6),
    st.floats(0.01, 1.0),
    st.sampled_from(["token", "span", "word"]),
    st.integers(0, 1000),
)
def test_labels_are_the_hidden_tokens_and_specials_stay(lengths, rate, unit, seed):
    options = {"span": {"span_masking": True}, "word": {"whole_word_masking": True}}.get(unit, {})
    src, sizes = rows(lengths, pairs=True, seed=seed)
    words = np.random.default_rng(seed).random(src.shape) < 0.5
    masked, labels = masker(mask_rate=rate, **options)(src, sizes, np.random.default_rng(seed), words)
    chosen = labels != IGNORE
    assert np.array_equal(labels[chosen], src[chosen]) and np.array_equal(masked[~chosen], src[~chosen])
    assert not np.isin(src[chosen], SPECIAL).any()
    assert not np.isin(masked[chosen], [PAD, CLS, SEP]).any()
    budget = np.maximum(1, np.rint(rate * sizes))
    assert (chosen.sum(axis=1) <= budget).all()
    if unit == "token":
        free = (~np.isin(src, SPECIAL)).sum(axis=1)
        assert np.array_equal(chosen.sum(axis=1), np.minimum(budget, free))


@pytest.mark.parametrize("options", [{}, {"span_masking": True}, {"whole_word_masking": True}])
def test_eight_one_one(options):
    src, sizes = rows([128] * 3000)
    words = np.random.default_rng(5).random(src.shape) < 0.6
    masked, labels = masker(**options)(src, sizes, np.random.default_rng(1), words)
    chosen = labels != IGNORE
    total = chosen.sum()
    hidden = (masked[chosen] == MASK).mean()
    same = (masked[chosen] == src[chosen]).mean()
    # A unit's tokens share a lot, so the spread is that of units: 3 tokens at most on average.
    spread = 5 * np.sqrt(0.25 * 4 / total)
    assert abs(hidden - 0.8) < spread
    assert abs(same - 0.1 - 0.1 / (VOCAB - len(SPECIAL))) < spread
    assert total == 3000 * 19 if not options else 0.9 * 3000 * 19 < total <= 3000 * 19


def test_every_place_is_as_likely():
    src, sizes = rows([64] * 20_000)
    _, labels = masker()(src, sizes, np.random.default_rng(2))
    counts = (labels != IGNORE).sum(axis=0)[1:-1]
    expected = 20_000 * 10 / 62
    assert ((counts - expected) ** 2 / expected).sum() < 61 + 5 * np.sqrt(2 * 61)


def test_random_ids_are_even_and_never_special():
    ids = masker().random_ids(200_000, np.random.default_rng(3))
    counts = np.bincount(ids, minlength=VOCAB)
    assert len(counts) == VOCAB and not counts[list(SPECIAL)].any()
    counts = np.delete(counts, SPECIAL)
    expected = 200_000 / (VOCAB - 4)
    assert ((counts - expected) ** 2 / expected).sum() < 995 + 5 * np.sqrt(2 * 995)


def test_words_are_hidden_whole():
    src, sizes = rows([100] * 500, pairs=True)
    words = np.random.default_rng(5).random(src.shape) < 0.4
    _, labels = masker(whole_word_masking=True)(src, sizes, np.random.default_rng(4), words)
    chosen, free = labels != IGNORE, ~np.isin(src, SPECIAL)
    begins = (words | run_begins(free)) & free
    inside = free[:, 1:] & ~begins[:, 1:]
    assert np.array_equal(chosen[:, 1:][inside], chosen[:, :-1][inside])


def test_words_within_a_word_share_their_fate():
    src, sizes = rows([100] * 500)
    words = np.zeros(src.shape, bool)
    words[:, 1::4] = True
    masked, labels = masker(whole_word_masking=True)(src, sizes, np.random.default_rng(4), words)
    chosen = (labels != IGNORE)[:, 1:97].reshape(-1, 4)
    assert set(chosen.sum(axis=1).tolist()) == {0, 4}
    hidden = (masked == MASK)[:, 1:97].reshape(-1, 4)[chosen.all(axis=1)]
    assert set(hidden.sum(axis=1).tolist()) == {0, 4}


def test_span_lengths_are_geometric_and_spans_keep_off_special_tokens():
    """With one span a row that always fits, lengths follow p(1-p)^(k-1), cut off at the longest."""
    longest, p = 5, 0.3
    tool = masker(span_masking=True, span_geo_prob=p, span_max_length=longest)
    src, _ = rows([402] * 400)
    free = ~np.isin(src, SPECIAL)
    begins = tool._span_begins(free, np.random.default_rng(0))
    assert begins[:, 1].all() and not begins[~free].any()
    lengths = np.concatenate(
        [np.diff(np.flatnonzero(row)) for row in begins]
    )  # the last, clipped one is left out
    counts = np.bincount(lengths, minlength=longest + 1)[1:]
    weights = p * (1 - p) ** np.arange(longest)
    expected = counts.sum() * weights / weights.sum()
    assert len(counts) == longest
    assert ((counts - expected) ** 2 / expected).sum() < 4 + 6 * np.sqrt(8)


def test_spans_begin_anew_behind_a_special_token():
    src, _ = rows([41] * 50, pairs=True)
    free = ~np.isin(src, SPECIAL)
    tool = masker(span_masking=True, span_geo_prob=0.01, span_max_length=30)
    begins = tool._span_begins(free, np.random.default_rng(0))
    assert begins[:, 21].all() and (src[:, 20] == SEP).all()


def test_same_generator_same_masks():
    src, sizes = rows([30, 20, 10])
    first, second = (masker()(src, sizes, np.random.default_rng(9))[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, masker()(src, sizes, np.random.default_rng(8))[0])


def test_long_rows_and_rows_without_a_free_token():
    src, sizes = rows([5000, 2])
    _, labels = masker()(src, sizes, np.random.default_rng(0))
    assert (labels != IGNORE).sum(axis=1).tolist() == [750, 0]
    for options in ({"span_masking": True}, {"whole_word_masking": True}, {}):
        src = np.full((1, 2), SEP)
        masked, labels = masker(**options)(src, np.array([2]), np.random.default_rng(0), src > 0)
        assert np.array_equal(masked, src) and (labels == IGNORE).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"whole_word_masking": True, "span_masking": True}, "--whole_word_masking and --span_masking"),
        ({"mask_rate": 0.0}, "--mask_rate is 0"),
        ({"mask_rate": 1.5}, "--mask_rate is 1.5; it must be a number from 0 to 1"),
        ({"span_geo_prob": 1.0}, "--span_geo_prob is 1.0; it must be a number between 0 and 1"),
        ({"span_max_length": 0}, "--span_max_length is 0; it must be a number greater than 0"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        MaskingOptions(**options)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.lists(st.integers(1, 9), max_size=12), st.integers(0, 30)), min_size=1, max_size=5)
)
def test_units_are_taken_in_order_as_long_as_they_fit(rows):
    """Against the definition, a unit at a time."""
    sizes = np.zeros((len(rows), 12), np.int64)
    wanted = np.zeros((len(rows), 12), bool)
    for row, (units, left) in enumerate(rows):
        sizes[row, : len(units)] = units
        for place, size in enumerate(units):
            wanted[row, place] = size <= left
            left -= size * (size <= left)
    assert np.array_equal(take_in_order(sizes, np.array([budget for _, budget in rows])), wanted)
