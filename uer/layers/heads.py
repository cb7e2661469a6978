"""Between tokens one behind the other and the grids that attention reads: one copy each way, for all heads.

Shapes: N tokens, C kinds (queries, keys, values), A heads of size d, S sequences, T the longest one's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from uer.layers.layout import Layout, Part, take_rows


class _Spread(torch.autograd.Function):
    """Rows `index` of x. Row n stands at `places[n]`; rows elsewhere are padding, which has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, places: Tensor) -> Tensor:
        """x [n, d], index [m], places [n] → [m, d]."""
        ctx.save_for_backward(places)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """[m, d] → [n, d]."""
        return take_rows(gradient, ctx.saved_tensors[0]), None, None


class _Shape(NamedTuple):
    """A grid of C kinds."""

    kinds: int
    sequences: int
    heads: int
    length: int

    @property
    def rows(self) -> int:
        """C·S·A·T"""
        return self.kinds * self.sequences * self.heads * self.length


@dataclass(frozen=True)
class _Grids:
    """Which vector of a head stands where, for the parts of a layout, one behind the other."""

    shapes: tuple[_Shape, ...]
    index: Tensor
    """[ΣC·S·A·T] rows of [N·C·A, d]; the first token stands in for padding"""
    places: Tensor
    """[N·C·A] rows of the grids"""

    @classmethod
    def build(cls, layout: Layout, parts: Sequence[Part], kinds: int, heads: int) -> _Grids:
        """Count them out."""
        device = layout.slots.device
        kind = torch.arange(kinds, device=device)[:, None]
        head = torch.arange(heads, device=device)
        shapes, index, begins = [], [], 0
        places = torch.empty((layout.tokens, kinds, heads), dtype=torch.long, device=device)
        for tokens, part in parts:
            shape = _Shape(kinds, part.sequences, heads, part.max_length)
            grid = tokens.new_zeros(shape.sequences * shape.length).index_copy_(0, part.slots, tokens)
            vector = (grid.view(-1, 1, shape.length) * kinds + kind[:, None, None]) * heads + head[:, None]
            index.append(vector.flatten().to(torch.int32))  # half the memory
            number = part.slots[:, None, None]
            row = (kind * shape.sequences + number // shape.length) * heads + head
            places.index_copy_(0, tokens, row * shape.length + number % shape.length + begins)
            shapes.append(shape)
            begins += shape.rows
        return cls(tuple(shapes), torch.cat(index), places.flatten())


def _grids(layout: Layout, kinds: int, heads: int, split: bool) -> _Grids:
    """Made once for all layers."""
    known, key = layout.known, (kinds, heads, split)
    if key not in known:
        whole = (Part(torch.arange(layout.tokens, device=layout.slots.device), layout),)
        known[key] = _Grids.build(layout, layout.parts if split else whole, kinds, heads)
    return known[key]


def to_heads(x: Tensor, layout: Layout, *, split: bool = False) -> list[Tensor]:
    """[N, C, A, d] → [C, S, A, T, d] of the layout, or of each of its parts when `split`.

    What stands behind the end of a sequence means nothing, is finite, and gets no gradient.
    """
    if layout.even:
        return [x.unflatten(0, (layout.sequences, layout.max_length)).permute(2, 0, 3, 1, 4)]
    grids = _grids(layout, x.shape[1], x.shape[2], split)
    rows = _Spread.apply(x.reshape(-1, x.shape[3]), grids.index, grids.places)
    pieces = rows.split([shape.rows for shape in grids.shapes])
    return [piece.view(*shape, -1) for piece, shape in zip(pieces, grids.shapes, strict=True)]


def from_heads(outs: Sequence[Tensor], layout: Layout) -> Tensor:
    """[S, A, T, d] of the layout, or of each of its parts → [N, A·d]."""
    if layout.even:
        return outs[0].transpose(1, 2).flatten(0, 1).flatten(1)
    heads, size = outs[0].shape[1], outs[0].shape[3]
    grids = _grids(layout, 1, heads, len(outs) > 1)
    rows = [out.reshape(-1, size) for out in outs]
    return take_rows(rows[0] if len(rows) == 1 else torch.cat(rows), grids.places).view(-1, heads * size)
