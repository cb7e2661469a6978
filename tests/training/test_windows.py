"""Windows, fetching ahead, and batches as tensors."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uer.data.batch import Batch
from uer.errors import DataError
from uer.training.windows import Span, Windows, cut, due, fetch, rows_of, to_tensors


def batch_of(step: int) -> Batch:
    seg = np.array([[1, 1, 2, 0], [1, 0, 0, 0]])
    return Batch.counted(
        {"src": np.full((2, 4), step), "seg": seg}, {"sp": np.array([1, -100])}, np.array([step, 7])
    )


@given(
    total=st.integers(1, 60),
    size=st.integers(1, 9),
    period=st.one_of(st.none(), st.integers(1, 20)),
    data=st.data(),
)
def test_windows_cover_the_run_and_resume_anywhere(total, size, period, data):
    windows = Windows(total, size, period)
    spans = list(windows.after(0))
    assert [span.index for span in spans] == list(range(windows.updates))
    assert spans[0].first == 0 and spans[-1].last == total
    assert all(one.last == other.first for one, other in pairwise(spans))
    assert all(1 <= span.last - span.first <= size for span in spans)
    if period:
        assert set(range(period, total, period)) <= {span.last for span in spans}
    start = data.draw(st.sampled_from([0] + [span.last for span in spans]))
    assert list(windows.after(start)) == [span for span in spans if span.first >= start]


def test_the_last_window_is_short():
    assert [tuple(span) for span in Windows(7, 3).after(0)] == [(0, 0, 3), (1, 3, 6), (2, 6, 7)]
    assert Windows(7, 3).updates == 3
    assert [tuple(span) for span in Windows(8, 3, 4).after(4)] == [(2, 4, 7), (3, 7, 8)]


def test_due_when_a_multiple_lies_within():
    assert due(Span(0, 0, 4), 4) and due(Span(0, 3, 6), 5) and due(Span(0, 0, 100), 7)
    assert not due(Span(0, 5, 9), 5) and not due(Span(0, 0, 3), 4) and not due(Span(0, 0, 4), None)


def test_windows_come_in_order_and_are_counted():
    windows = list(fetch(batch_of, Windows(5, 2).after(0)))
    assert [[int(batch.inputs["src"][0, 0]) for batch in window.batches] for window in windows] == [
        [0, 1],
        [2, 3],
        [4],
    ]
    assert windows[0].counts == {"sp": 2} and windows[2].counts == {"sp": 1}
    assert windows[0].batches[0].positions == 8 and windows[0].batches[0].tokens == 4


def test_batches_are_made_in_another_thread_and_errors_come_where_their_window_was():
    threads = set()

    def get_batch(step: int) -> Batch:
        threads.add(threading.current_thread().name)
        if step == 3:
            raise DataError("is broken", path="x")
        return batch_of(step)

    seen = []
    with pytest.raises(DataError, match="x: is broken"):
        for window in fetch(get_batch, Windows(9).after(0)):
            seen.append(window.span.first)
    assert seen == [0, 1, 2]
    assert threads and threading.current_thread().name not in threads


def test_a_run_that_is_left_early_stops_fetching():
    asked = []
    windows = fetch(lambda step: asked.append(step) or batch_of(step), Windows(1000).after(0))
    next(windows)
    windows.close()
    assert len(asked) < 10


def test_read_only_arrays_and_sides():
    source = np.arange(6).reshape(2, 3)
    source.flags.writeable = False
    batch = Batch.counted(
        {"src": source, "tgt_seg": np.array([[1, 0]])}, {"lm": np.array([[3, -100]])}, np.zeros(2, int)
    )
    converted = to_tensors(batch)
    assert torch.equal(converted.inputs["src"], torch.arange(6).reshape(2, 3))
    assert (converted.positions, converted.tokens, converted.counts) == (6, 1, {"lm": 1})
    assert to_tensors(Batch({"src_0": source, "src_1": source}, {}, {})).positions == 12
    assert to_tensors(Batch({"src_0": source, "src_1": source}, {}, {})).tokens == 12


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 100])
def test_a_batch_in_pieces_has_the_same_rows_and_counts(pieces):
    src = np.arange(28).reshape(7, 4)
    whole = Batch.counted(
        {"src": src, "seg": src}, {"sp": np.array([1, -100, 0, 1, 1, -100, 2])}, np.arange(7)
    )
    parts = cut(whole, pieces)
    assert len(parts) == min(pieces, 7)
    for name in ("src", "seg"):
        assert np.array_equal(np.concatenate([part.inputs[name] for part in parts]), src)
    assert np.array_equal(np.concatenate([part.labels["sp"] for part in parts]), whole.labels["sp"])
    assert np.concatenate([part.ids for part in parts]).tolist() == list(range(7))
    assert sum(part.counts.get("sp", 0) for part in parts) == whole.counts["sp"]
    (window,) = fetch(lambda step: whole, Windows(1).after(0), pieces=pieces)
    assert window.counts == whole.counts and len(window.batches) == len(parts)


@pytest.mark.parametrize("pieces", [1, 3, 5])
@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_workers_with_few_rows_have_as_many_pieces_as_the_others(rows, pieces):
    src = np.arange(20).reshape(5, 4)
    batch = Batch.counted({"src": src, "seg": src}, {"sp": np.array([1, 0, 1, 1, 2])}, np.arange(5))
    batch = rows_of(batch, np.arange(rows)) if rows else batch.idle()
    parts = cut(batch, pieces, fill=True)
    live = max(1, min(pieces, rows))
    assert len(parts) == max(pieces, 1) and [part.live for part in parts[live:]] == [False] * (pieces - live)
    assert [*np.concatenate([part.ids for part in parts])] == list(range(rows))
    assert sum(part.counts.get("sp", 0) for part in parts) == batch.counts["sp"]
    assert all(len(part.inputs["src"]) for part in parts)


def test_labels_of_packed_documents_go_with_their_rows():
    src, doc = np.arange(12).reshape(3, 4), np.array([[1, 1, 2, 3], [1, 1, 1, 1], [1, 1, 2, 2]])
    whole = Batch({"src": src, "doc": doc}, {"cls": np.arange(6), "lm": src}, {"cls": 6}, np.arange(3))
    one, two = cut(whole, 2)
    assert one.labels["cls"].tolist() == [0, 1, 2, 3] and two.labels["cls"].tolist() == [4, 5]
    assert np.array_equal(two.labels["lm"], src[2:]) and np.array_equal(one.inputs["doc"], doc[:2])
