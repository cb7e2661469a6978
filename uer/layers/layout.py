"""Where the real tokens of a batch lie, so that nothing is computed for padding.

Shapes: B rows, L row length, N real tokens, S sequences (S = B unless a row holds several documents).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Take(torch.autograd.Function):
    """Rows `index` of x. The indices differ from each other, so the gradient is a copy, not a sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        """x [M, …], index [N] → [N, …]."""
        ctx.save_for_backward(index)
        ctx.size = x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """[N, …] → [M, …], 0 in rows that were not taken."""
        return _Place.apply(gradient, ctx.saved_tensors[0], ctx.size, 0), None


class _Place(torch.autograd.Function):
    """The inverse of `_Take`: rows of x at the places `index` of `size` rows, `fill` elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, size: int, fill: float) -> Tensor:
        """x [N, …], index [N] → [size, …]."""
        ctx.save_for_backward(index)
        return x.new_full((size, *x.shape[1:]), fill).index_copy_(0, index, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """[size, …] → [N, …]."""
        return _Take.apply(gradient, ctx.saved_tensors[0]), None, None, None


# A group of sequences shorter by a quarter is attended to apart when that spares so many scores a head.
# Measured on a CPU: training steps take 10 to 25 % less with rows of 171 to 512 tokens, 10 % with 43 to 128.
WORTH_APART = 1 << 15
SHORTER = 0.75


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (no index twice) of x [M, …], cheaper to differentiate than indexing."""
    return _Take.apply(x, index)


def real_tokens(seg: Tensor) -> Tensor:
    """[B, L] bool: where seg > 0. A row of zeros is real throughout, since UER's masks hide nothing there."""
    real = seg > 0
    return real | ~real.any(dim=1, keepdim=True)


def row_positions(seg: Tensor) -> Tensor:
    """[B, L] position ids: the number of real tokens in front of each."""
    return (real_tokens(seg).cumsum(dim=1) - 1).clamp_(min=0)


@dataclass(frozen=True, eq=False)
class Layout:
    """The real tokens of a batch, row after row, and the sequences that they form.

    Make one with `from_seg` or `dense`. It is cheapest made from tensors on the CPU and then moved with `to`,
    since counting tokens on a GPU makes the host wait.
    """

    rows: int
    """B"""
    length: int
    """L"""
    indices: Tensor
    """[N] places of the real tokens in the flattened [B·L] grid, ascending"""
    cu_seqlens: Tensor
    """[S+1] int32, where each sequence begins in the packed order; the last entry is N"""
    lengths: Tensor
    """[S] tokens of each sequence"""
    slots: Tensor
    """[N] places of the tokens in the flattened [S·max_length] grid of sequences"""
    max_length: int
    """tokens of the longest sequence"""

    @classmethod
    def from_seg(cls, seg: Tensor, doc: Tensor | None = None) -> Layout:
        """The layout of a batch.

        Args:
            seg: [B, L], see `real_tokens`.
            doc: [B, L] document numbers; a new sequence starts wherever the number changes within a row.
        """
        rows, length = seg.shape
        real = real_tokens(seg)
        indices = real.flatten().nonzero().squeeze(1)
        if doc is None:
            return cls._build(rows, length, indices, real.sum(dim=1))
        row, number = indices // length, doc.flatten()[indices]
        starts = torch.ones_like(indices, dtype=torch.bool)
        starts[1:] = (row[1:] != row[:-1]) | (number[1:] != number[:-1])
        borders = torch.cat([starts.nonzero().squeeze(1), indices.new_tensor([indices.numel()])])
        return cls._build(rows, length, indices, borders.diff())

    @classmethod
    def dense(cls, rows: int, length: int, device: torch.device | str = "cpu") -> Layout:
        """The layout in which every token of the [rows, length] grid is real."""
        return cls._build(
            rows,
            length,
            torch.arange(rows * length, device=device),
            torch.full((rows,), length, device=device),
        )

    @classmethod
    def _build(cls, rows: int, length: int, indices: Tensor, lengths: Tensor) -> Layout:
        ends = lengths.cumsum(0)
        max_length = int(lengths.max())
        number = torch.arange(lengths.numel(), device=lengths.device).repeat_interleave(
            lengths, output_size=indices.numel()
        )
        within = torch.arange(indices.numel(), device=indices.device) - (ends - lengths)[number]
        return cls(
            rows=rows,
            length=length,
            indices=indices,
            cu_seqlens=torch.nn.functional.pad(ends, (1, 0)).to(torch.int32),
            lengths=lengths,
            slots=number * max_length + within,
            max_length=max_length,
        )

    @property
    def tokens(self) -> int:
        """N, the number of real tokens."""
        return self.indices.numel()

    @property
    def sequences(self) -> int:
        """S, the number of sequences."""
        return self.lengths.numel()

    @property
    def full(self) -> bool:
        """Whether the [B, L] grid holds no padding: then packing is a change of shape only."""
        return self.tokens == self.rows * self.length

    @property
    def even(self) -> bool:
        """Whether all sequences are equally long: then the grid of sequences is a change of shape only."""
        return self.tokens == self.sequences * self.max_length

    @property
    def positions(self) -> Tensor:
        """[N] the place of each token in its sequence, from 0."""
        return self.slots % self.max_length

    @property
    def real(self) -> Tensor:
        """[S, max_length] bool, True where the grid of sequences holds a token."""
        return torch.arange(self.max_length, device=self.lengths.device) < self.lengths[:, None]

    @property
    def first(self) -> Tensor:
        """[S] places of the first token of each sequence in the packed order."""
        return self.cu_seqlens[:-1].long()

    @property
    def last(self) -> Tensor:
        """[S] places of the last token of each sequence in the packed order."""
        return self.cu_seqlens[1:].long() - 1

    @property
    def reversed(self) -> Tensor:
        """[N] places in the packed order that turn each sequence around; twice gives the old order."""
        first = self.first.repeat_interleave(self.lengths, output_size=self.tokens)
        last = self.last.repeat_interleave(self.lengths, output_size=self.tokens)
        return first + last - torch.arange(self.tokens, device=first.device)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Groups of sequences of similar length, for attention: its work grows with the longest one's square.

        Empty where splitting would not pay, and on a GPU, where many small calls cost more than padding.
        """
        return () if self.even or self.lengths.device.type != "cpu" else self._split

    @cached_property
    def _split(self) -> tuple[Part, ...]:
        groups = _similar(self.lengths.tolist())
        if len(groups) == 1:
            return ()
        number = self.slots // self.max_length
        parts = []
        for group in groups:
            chosen = torch.zeros(self.sequences, dtype=torch.bool)
            chosen[group] = True
            tokens, lengths = chosen[number].nonzero().squeeze(1), self.lengths[chosen]
            alone = Layout._build(len(group), int(lengths.max()), torch.arange(tokens.numel()), lengths)
            parts.append(Part(tokens, alone))
        return tuple(parts)

    @cached_property
    def known(self) -> dict[Any, Any]:
        """What others have worked out from this layout, for all layers."""
        return {}

    def only(self, tokens: Tensor) -> Part:
        """Some tokens [K] by their places in the packed order, ascending, at least one of each sequence."""
        number = self.slots.index_select(0, tokens) // self.max_length
        lengths = torch.bincount(number, minlength=self.sequences)
        return Part(
            tokens, Layout._build(self.rows, self.length, self.indices.index_select(0, tokens), lengths)
        )

    def to(self, device: torch.device | str) -> Layout:
        """The same layout with its tensors on `device`."""
        moved = (t.to(device) for t in (self.indices, self.cu_seqlens, self.lengths, self.slots))
        return Layout(self.rows, self.length, *moved, self.max_length)

    def pack(self, x: Tensor) -> Tensor:
        """[B, L, …] → [N, …]"""
        x = x.flatten(0, 1)
        return x if self.full else _Take.apply(x, self.indices)

    def unpack(self, x: Tensor, fill: float = 0) -> Tensor:
        """[N, …] → [B, L, …], `fill` at padding"""
        if not self.full:
            x = _Place.apply(x, self.indices, self.rows * self.length, fill)
        return x.unflatten(0, (self.rows, self.length))

    def to_sequences(self, x: Tensor, fill: float = 0) -> Tensor:
        """[N, …] → [S, max_length, …], `fill` behind the shorter sequences"""
        if not self.even:
            x = _Place.apply(x, self.slots, self.sequences * self.max_length, fill)
        return x.unflatten(0, (self.sequences, self.max_length))

    def from_sequences(self, x: Tensor) -> Tensor:
        """[S, max_length, …] → [N, …]"""
        x = x.flatten(0, 1)
        return x if self.even else _Take.apply(x, self.slots)


class Part(NamedTuple):
    """Some sequences of a layout, or some tokens of all of them."""

    tokens: Tensor
    """[n] places of its tokens in the packed order of the layout"""
    layout: Layout
    """of these alone"""


def _similar(lengths: list[int]) -> list[list[int]]:
    """Sequence numbers in groups of similar length, the longest first; see `WORTH_APART`."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    groups = [[order[0]]]
    for place, number in enumerate(order[1:], start=1):
        longest, length = lengths[groups[-1][0]], lengths[number]
        spared = (longest**2 - length**2) * (len(order) - place)
        if length < SHORTER * longest and spared > WORTH_APART:
            groups.append([number])
        else:
            groups[-1].append(number)
    return groups
