"""Memory of incremental decoding: keys and values, segment ids, recurrent states.

Shapes: B rows, A heads, T positions held, d head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from uer.errors import ConfigError
from uer.layers.layout import row_positions


class KVCache:
    """Keys and values of one layer, in room set aside beforehand (doubled when it does not suffice)."""

    def __init__(self, capacity: int = 64) -> None:
        self.capacity = capacity
        self.length = 0
        self._room: Tensor | None = None  # [2, B, A, capacity, d]

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v [B, A, T, d] behind what is held; return all of it, [B, A, length, d] each."""
        start = self._grow(k.shape, k)
        self._room[0, :, :, start : self.length] = k
        self._room[1, :, :, start : self.length] = v
        return self.held()

    def append_one(self, kv: Tensor) -> tuple[Tensor, Tensor]:
        """As `append`, of one position: its keys and values together, [B, 2, A, d]."""
        rows, _, heads, size = kv.shape
        place = self._grow((rows, heads, 1, size), kv)
        self._room.select(3, place).copy_(kv.transpose(0, 1))
        return self.held()

    def _grow(self, shape: Sequence[int], like: Tensor) -> int:
        """Make room for [B, A, T, d] more; return where it begins."""
        rows, heads, new, size = shape
        start, end = self.length, self.length + new
        if self._room is None or end > self.capacity:
            self.capacity = max(self.capacity if self._room is None else 2 * self.capacity, end)
            room = like.new_empty(2, rows, heads, self.capacity, size)
            if self._room is not None:
                room[..., :start, :] = self._room[..., :start, :]
            self._room = room
        self.length = end
        return start

    def held(self) -> tuple[Tensor, Tensor]:
        """The keys and values stored so far."""
        k, v = self._room.narrow(3, 0, self.length).unbind(0)
        return k, v

    def reorder(self, rows: Tensor) -> None:
        """Keep the rows `rows` [B'], in that order; one may come several times (beams)."""
        if self._room is not None:
            self._room = self._room.index_select(1, rows)

    def truncate(self, length: int) -> None:
        """Forget everything behind the first `length` positions."""
        self.length = min(self.length, length)


class MemoryCache:
    """Keys and values of a decoder layer over the encoder's output: computed once, used at every step."""

    def __init__(self) -> None:
        self.held: tuple[Tensor, Tensor] | None = None

    def reorder(self, rows: Tensor) -> None:
        """As `KVCache.reorder`."""
        if self.held is not None:
            self.held = tuple(x.index_select(0, rows) for x in self.held)

    def truncate(self, length: int) -> None:
        """Nothing: the memory does not grow."""


class StateCache:
    """The state of a recurrent or convolutional encoder: tensors whose dimension `row_dim` is B."""

    def __init__(self, row_dim: int) -> None:
        self.row_dim = row_dim
        self.state: tuple[Tensor, ...] | None = None

    def reorder(self, rows: Tensor) -> None:
        """As `KVCache.reorder`."""
        if self.state is not None:
            self.state = tuple(x.index_select(self.row_dim, rows) for x in self.state)

    def truncate(self, length: int) -> None:
        """A state cannot be taken back.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("this encoder keeps a state that cannot go back; choose an encoder with attention.")


class Caches:
    """All caches of an encoder or decoder, and the segment ids of the positions they hold.

    Made by `make_caches` of the encoder or decoder; the parts fill it, generation reorders and truncates it.
    """

    def __init__(self, layers: list[Any], memory: list[MemoryCache] | None = None) -> None:
        self.layers = layers
        self.memory = memory or []
        self.seg: Tensor | None = None

    @property
    def length(self) -> int:
        """Positions held."""
        return 0 if self.seg is None else self.seg.shape[1]

    def append_seg(self, seg: Tensor) -> Tensor:
        """Add the segment ids [B, T] of new positions; return those of all, [B, length]."""
        self.seg = seg if self.seg is None else torch.cat([self.seg, seg], dim=1)
        return self.seg

    def next_positions(self, seg: Tensor) -> Tensor:
        """[B, T] position ids of new tokens: the number of real tokens in front of each."""
        whole = seg if self.seg is None else torch.cat([self.seg, seg], dim=1)
        return row_positions(whole)[:, -seg.shape[1] :]

    def reorder(self, rows: Tensor) -> None:
        """Keep the rows `rows` [B'], in that order; one may come several times (beams)."""
        if self.seg is not None:
            self.seg = self.seg.index_select(0, rows)
        for cache in (*self.layers, *self.memory):
            cache.reorder(rows)

    def truncate(self, length: int) -> None:
        """Forget everything behind the first `length` positions."""
        if self.seg is not None:
            self.seg = self.seg[:, :length]
        for cache in (*self.layers, *self.memory):
            cache.truncate(length)
