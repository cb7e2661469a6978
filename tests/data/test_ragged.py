"""Runs of unequal length, against plain Python lists."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from uer.data.ragged import cut, gather, place, ragged_arange, ragged_index, starts_of, wrap

LENGTHS = st.lists(st.integers(0, 7), max_size=8)


@given(LENGTHS, st.integers(1, 5))
def test_against_lists(lengths, size):
    runs, at = [], 0
    for length in lengths:
        runs.append(list(range(at, at + length)))
        at += length
    starts = starts_of(lengths)
    values = np.arange(at) * 10
    assert starts.tolist() == [sum(lengths[:i]) for i in range(len(lengths))]
    assert ragged_arange(lengths).tolist() == [j for length in lengths for j in range(length)]
    assert ragged_index(starts[::-1], lengths[::-1]).tolist() == [j for run in runs[::-1] for j in run]
    rows = gather(values, starts, np.array(lengths, int), -1)
    width = max(lengths, default=0)
    assert rows.tolist() == [[10 * j for j in run] + [-1] * (width - len(run)) for run in runs]
    blocks = [run[i : i + size] for run in runs for i in range(0, len(run), size)]
    cut_starts, cut_lengths = cut(starts, lengths, size)
    assert [list(range(a, a + n)) for a, n in zip(cut_starts.tolist(), cut_lengths.tolist())] == blocks
    for before, after in ((-5, -6), (None, -6), (-5, None), (None, None)):
        out, longer = wrap(values, lengths, before, after)
        wanted = [
            [before] * (before is not None) + [10 * j for j in run] + [after] * (after is not None)
            for run in runs
        ]
        assert out.tolist() == [j for run in wanted for j in run]
        assert longer.tolist() == [len(run) for run in wanted]


def test_placed_at_a_column_of_each_row():
    rows = np.zeros((2, 4), np.int64)
    place(rows, np.array([1, 2]), np.array([7, 8, 9]), np.array([0, 1]), np.array([2, 1]))
    assert rows.tolist() == [[0, 7, 8, 0], [0, 0, 8, 0]]
