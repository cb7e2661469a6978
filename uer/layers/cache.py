"""Memory of incremental decoding: keys and values, segment ids, recurrent states.

Shapes: B rows, A heads, T positions held, d head size.
"""

from __future__ import annotations

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
        self._room: tuple[Tensor, Tensor] | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v [B, A, T, d] behind what is held; return all of it, [B, A, length, d] each."""
        end = self.length + k.shape[2]
        if self._room is None:
            self.capacity = max(self.capacity, end)
            self._room = (self._empty(k), self._empty(v))
        elif end > self.capacity:
            held = self.held()
            self.capacity = max(2 * self.capacity, end)
            self._room = (self._empty(k), self._empty(v))
            for room, old in zip(self._room, held):
                room[:, :, : self.length] = old
        for room, new in zip(self._room, (k, v)):
            room[:, :, self.length : end] = new
        self.length = end
        return self.held()

    def _empty(self, like: Tensor) -> Tensor:
        rows, heads, _, size = like.shape
        return like.new_empty(rows, heads, self.capacity, size)

    def held(self) -> tuple[Tensor, Tensor]:
        """The keys and values stored so far."""
        k, v = self._room
        return k[:, :, : self.length], v[:, :, : self.length]

    def reorder(self, rows: Tensor) -> None:
        """Keep the rows `rows` [B'], in that order; one may come several times (beams)."""
        if self._room is not None:
            self._room = tuple(x.index_select(0, rows) for x in self._room)

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
