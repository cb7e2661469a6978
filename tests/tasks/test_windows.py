"""Windows cover every place, each owned once, and none is longer than allowed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from uer.tasks.windows import first_stretches, windows


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 12), st.data())
def test_every_place_is_owned_once(lengths, size, data):
    stride = data.draw(st.integers(1, size))
    cut = windows(np.array(lengths), size, stride)
    owned = [[] for _ in lengths]
    for row, start, stop, own_start, own_stop in zip(*(part.tolist() for part in cut)):
        assert 0 <= start <= own_start <= own_stop <= stop <= lengths[row]
        assert stop - start <= size
        owned[row] += range(own_start, own_stop)
    assert owned == [list(range(length)) for length in lengths]
    assert (np.diff(cut.row) >= 0).all()


def test_a_place_belongs_where_it_stands_furthest_inside():
    cut = windows(np.array([10]), 6, 4)
    assert list(zip(*(part.tolist() for part in cut))) == [(0, 0, 6, 0, 5), (0, 4, 10, 5, 10)]


def test_the_first_stretch():
    cut = first_stretches(np.array([3, 9, 0]), 5)
    assert cut.stop.tolist() == [3, 5, 0] and cut.row.tolist() == [0, 1, 2]
