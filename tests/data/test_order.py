"""The order of instances: complete, without repeats, for any number of ranks, at any place."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uer.data.order import GROUPED, BatchOrder
from uer.data.random import Permutation
from uer.errors import DataError


@given(st.integers(1, 3000), st.integers(0, 2**70), st.integers(-5, 5))
def test_permutation_is_a_bijection(n, seed, key):
    values = Permutation(n, seed, key)(np.arange(n))
    assert np.array_equal(np.sort(values), np.arange(n))


def test_permutation_of_a_billion_needs_no_array():
    started = time.perf_counter()
    order = Permutation(10**9 + 7, 3)
    places = np.arange(10**9 - 5000, 10**9)
    values = order(places)
    assert len(np.unique(values)) == 5000 and values.max() < 10**9 + 7
    assert np.array_equal(order(places[17:19]), values[17:19])
    assert time.perf_counter() - started < 2


def test_permutation_is_uniform():
    """Each value stands at each place equally often over seeds, and so do pairs of neighbours."""
    n, trials = 7, 5_000
    counts, follows = np.zeros((n, n)), np.zeros((n, n))
    for seed in range(trials):
        values = Permutation(n, seed)(np.arange(n))
        counts[np.arange(n), values] += 1
        follows[values[:-1], values[1:]] += 1
    expected = trials / n
    chi = ((counts - expected) ** 2 / expected).sum()
    assert chi < 36 + 5 * np.sqrt(2 * 36)  # (n-1)² degrees of freedom, five standard deviations
    off = follows[~np.eye(n, dtype=bool)]
    expected = trials * (n - 1) / (n * (n - 1))
    assert ((off - expected) ** 2 / expected).sum() < 41 + 5 * np.sqrt(2 * 41)


def test_large_permutation_has_no_serial_correlation():
    values = Permutation(100_003, 5)(np.arange(100_003)).astype(float)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.015
    assert abs(np.corrcoef(values, np.arange(len(values)))[0, 1]) < 0.015


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 120),
    st.integers(1, 30),
    st.integers(1, 9),
    st.sampled_from(["carry", "keep", "drop"]),
    st.booleans(),
    st.booleans(),
)
def test_every_epoch_holds_every_instance_once(n, batch_size, world_size, ends, grouped, shuffle):
    lengths = np.random.default_rng(0).integers(1, 50, n) if grouped else None

    def make(rank, world_size):
        return BatchOrder(
            n,
            batch_size,
            seed=1,
            rank=rank,
            world_size=world_size,
            ends=ends,
            lengths=lengths,
            shuffle=shuffle,
        )

    if ends == "drop" and n < batch_size:
        with pytest.raises(DataError, match="a batch needs"):
            make(0, 1)
        return
    alone = make(0, 1)
    ranks = [make(rank, world_size) for rank in range(world_size)]
    steps = alone.steps_per_epoch * 2 + 1
    merged = []
    for step in range(steps):
        shares = [order.batch(step) for order in ranks]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        whole = np.empty(sum(map(len, shares)), np.int64)
        for rank, share in enumerate(shares):
            whole[rank::world_size] = share
        assert np.array_equal(whole, alone.batch(step))
        merged.append(whole)
    if ends == "carry":
        assert all(len(batch) == batch_size for batch in merged)
        window = GROUPED * batch_size if grouped else 1
        stream = np.concatenate(merged)
        if not grouped:
            epochs = [stream[at : at + n] for at in range(0, len(stream) - n + 1, n)]
            assert all(np.array_equal(np.sort(epoch), np.arange(n)) for epoch in epochs) and epochs
        elif n % window == 0:
            assert np.array_equal(np.sort(stream[:n]), np.arange(n))
        return
    first = np.concatenate(merged[: alone.steps_per_epoch])
    assert len(np.unique(first)) == len(first)
    assert len(first) == (n if ends == "keep" else alone.steps_per_epoch * batch_size)
    if ends == "keep" and not shuffle and not grouped:
        assert np.array_equal(first, np.arange(n))


def test_any_step_without_the_ones_before():
    order = BatchOrder(10**9, 512, seed=3)
    started = time.perf_counter()
    late = order.batch(10**9)
    assert time.perf_counter() - started < 0.5
    assert np.array_equal(late, BatchOrder(10**9, 512, seed=3).batch(10**9))
    assert order.epoch(10**9) == 512


def test_seeds_and_epochs_differ():
    order, other = BatchOrder(1000, 1000, seed=1), BatchOrder(1000, 1000, seed=2)
    assert not np.array_equal(order.batch(0), order.batch(1))
    assert not np.array_equal(order.batch(0), other.batch(0))


def test_grouping_by_length_saves_padding_and_keeps_the_order_random():
    lengths = np.random.default_rng(0).integers(5, 129, 50_000)
    plain, grouped = BatchOrder(50_000, 32, seed=1), BatchOrder(50_000, 32, seed=1, lengths=lengths)

    def padding(order):
        batches = [lengths[order.batch(step)] for step in range(1000)]
        return 1 - sum(batch.sum() for batch in batches) / sum(batch.max() * len(batch) for batch in batches)

    assert padding(plain) > 0.4 and padding(grouped) < 0.05
    means = [lengths[grouped.batch(step)].mean() for step in range(GROUPED)]
    assert abs(np.corrcoef(means, np.arange(GROUPED))[0, 1]) < 0.4
    late = grouped.batch(777)
    assert np.array_equal(late, BatchOrder(50_000, 32, seed=1, lengths=lengths).batch(777))


def test_no_instances():
    with pytest.raises(DataError, match="the data set is empty"):
        BatchOrder(0, 4)
