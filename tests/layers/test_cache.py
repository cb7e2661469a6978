"""Caches: growing, choosing rows, forgetting."""

from __future__ import annotations

import pytest
import torch

from uer.errors import ConfigError
from uer.layers.cache import Caches, KVCache, MemoryCache, StateCache


def filled(length: int) -> tuple[KVCache, torch.Tensor]:
    cache, k = KVCache(3), torch.randn(2, 1, length, 4)
    for part in k.split(2, dim=2):
        cache.append(part, -part)
    return cache, k


def test_what_was_appended_is_held_in_order() -> None:
    cache, k = filled(7)
    held_k, held_v = cache.held()
    assert torch.equal(held_k, k) and torch.equal(held_v, -k)


def test_one_position_at_a_time_is_held_like_many() -> None:
    cache, k = KVCache(3), torch.randn(2, 2, 5, 4)
    cache.append(k[:, :, :2], -k[:, :, :2])
    for place in range(2, 5):
        held_k, held_v = cache.append_one(torch.stack([k[:, :, place], -k[:, :, place]], dim=1))
    assert torch.equal(held_k, k) and torch.equal(held_v, -k)


def test_rows_are_chosen_repeated_and_forgotten() -> None:
    cache, k = filled(4)
    cache.reorder(torch.tensor([1, 1, 0]))
    assert torch.equal(cache.held()[0], k[[1, 1, 0]])
    cache.truncate(2)
    new = torch.randn(3, 1, 1, 4)
    assert torch.equal(cache.append(new, new)[0], torch.cat([k[[1, 1, 0], :, :2], new], dim=2))


def test_a_state_is_reordered_but_cannot_go_back() -> None:
    state = StateCache(row_dim=1)
    state.reorder(torch.tensor([0]))  # nothing held yet
    state.state = (torch.arange(4.0).view(2, 2),)
    state.reorder(torch.tensor([1, 0]))
    assert state.state[0].tolist() == [[1, 0], [3, 2]]
    with pytest.raises(ConfigError, match="cannot go back; choose an encoder with attention"):
        state.truncate(0)


def test_all_caches_together() -> None:
    memory = MemoryCache()
    memory.held = (torch.arange(2.0).view(2, 1, 1, 1),) * 2
    caches = Caches([KVCache(), KVCache()], [memory])
    assert caches.length == 0
    assert caches.next_positions(torch.tensor([[0, 1], [1, 1]])).tolist() == [[0, 0], [0, 1]]
    caches.append_seg(torch.tensor([[0, 1], [1, 1]]))
    assert caches.length == 2
    assert caches.next_positions(torch.tensor([[1], [1]])).tolist() == [[1], [2]]
    caches.reorder(torch.tensor([1]))
    assert caches.seg.tolist() == [[1, 1]] and memory.held[0].flatten().tolist() == [1]
    caches.truncate(1)
    assert caches.length == 1 and memory.held[0].shape[0] == 1
