"""Layouts: packing and its inverse, documents, gradients."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uer.layers.layout import Layout, real_tokens, row_positions, take_rows


@st.composite
def segments(draw: st.DrawFn) -> Tensor:
    rows, length = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    ids = st.lists(st.integers(0, 2), min_size=length, max_size=length)
    return torch.tensor(draw(st.lists(ids, min_size=rows, max_size=rows)))


@settings(deadline=None)
@given(segments())
def test_packing_takes_the_real_tokens_in_order(seg: Tensor) -> None:
    layout, real = Layout.from_seg(seg), real_tokens(seg)
    grid = torch.arange(seg.numel()).view(seg.shape)
    packed = layout.pack(grid)
    assert torch.equal(packed, grid[real])
    assert torch.equal(layout.unpack(packed, fill=-1), grid.masked_fill(~real, -1))
    assert torch.equal(layout.pack(row_positions(seg)), layout.positions)
    assert layout.tokens == int(real.sum()) and layout.sequences == len(seg)


@settings(deadline=None)
@given(segments(), st.integers(1, 3))
def test_sequences_and_documents(seg: Tensor, documents: int) -> None:
    doc = torch.arange(seg.numel()).view(seg.shape) % documents
    doc = doc.sort(dim=1).values
    layout = Layout.from_seg(seg, doc)
    packed = torch.randn(layout.tokens, 2)
    grid = layout.to_sequences(packed)
    assert grid.shape == (layout.sequences, layout.max_length, 2)
    assert torch.equal(layout.from_sequences(grid), packed)
    assert not grid[~layout.real].any() and int(layout.real.sum()) == layout.tokens
    # Each sequence is one document of one row, whole.
    keys = layout.pack(torch.arange(len(seg))[:, None] * 10 + doc)
    for number in range(layout.sequences):
        inside = keys[layout.first[number] : layout.last[number] + 1]
        assert len(set(inside.tolist())) == 1 and len(inside) == int(layout.lengths[number])
    assert layout.sequences == len({int(key) for key in keys})


@settings(deadline=None)
@given(segments())
def test_turning_sequences_around(seg: Tensor) -> None:
    layout = Layout.from_seg(seg)
    x = torch.randn(layout.tokens)
    turned = x[layout.reversed]
    for first, last in zip(layout.first, layout.last):
        assert torch.equal(turned[first : last + 1], x[first : last + 1].flip(0))
    assert torch.equal(turned[layout.reversed], x)


def test_gradients_are_those_of_indexing() -> None:
    seg = torch.tensor([[1, 1, 0, 0], [1, 2, 2, 0], [0, 1, 1, 1]])
    layout = Layout.from_seg(seg)
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    packed = torch.randn(layout.tokens, 2, dtype=torch.float64, requires_grad=True)
    for function, value in (
        (layout.pack, x),
        (layout.unpack, packed),
        (layout.to_sequences, packed),
        (lambda y: layout.from_sequences(layout.to_sequences(y) ** 2), packed),
    ):
        assert torch.autograd.gradcheck(function, value)
        assert torch.autograd.gradgradcheck(function, value)


def test_a_row_of_zeros_is_real_and_a_dense_layout_has_no_padding() -> None:
    layout = Layout.from_seg(torch.tensor([[0, 0, 0], [1, 0, 0]]))
    assert layout.lengths.tolist() == [3, 1]
    dense = Layout.dense(2, 3)
    assert dense.full and dense.even and dense.positions.tolist() == [0, 1, 2, 0, 1, 2]
    x = torch.randn(2, 3, 4)
    assert dense.pack(x).data_ptr() == x.data_ptr()  # a change of shape, no copy
    assert dense.to("cpu").max_length == 3


@settings(deadline=None)
@given(st.lists(st.integers(1, 600), min_size=1, max_size=12))
def test_parts_hold_every_sequence_once(lengths: list[int]) -> None:
    seg = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        seg[row, :length] = 1
    layout = Layout.from_seg(seg)
    if not layout.parts:
        return
    x = torch.arange(layout.tokens)
    rows = layout.pack(torch.arange(len(lengths))[:, None].expand_as(seg))
    seen, found = [], []
    for part in layout.parts:
        inside = take_rows(x, part.tokens)
        grid = part.layout.to_sequences(inside, fill=-1)
        for sequence, real in zip(grid, part.layout.real):
            owners = rows[sequence[real]].unique().tolist()
            assert len(owners) == 1 and int(real.sum()) == lengths[owners[0]]
            assert torch.equal(sequence[real], sequence[real].sort().values)
            seen += owners
        found.append(inside)
    assert sorted(seen) == list(range(len(lengths)))
    assert torch.equal(torch.cat(found).sort().values, x)
    area = sum(part.layout.sequences * part.layout.max_length**2 for part in layout.parts)
    assert area < layout.sequences * layout.max_length**2


def test_batches_are_split_where_it_pays() -> None:
    def parts_of(*lengths: int) -> list[int]:
        seg = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
        return [part.layout.sequences for part in Layout.from_seg(seg.long()).parts]

    assert parts_of(512, 500, 200, 210, 190) == [2, 3]
    assert parts_of(64, 10, 12) == []  # too little to win
    assert parts_of(300, 280, 290) == []  # alike
    assert parts_of(400, 400) == []
