"""Masks against a loop over the rules of UER-py, and how they combine."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uer.config.model import MASKS as NAMES
from uer.errors import ConfigError
from uer.layers.layout import Layout, real_tokens
from uer.layers.masks import MASKS, AttentionMask, compute_dtype, cross_attention_mask, self_attention_mask

FP32 = torch.float32


def visible(mask: AttentionMask, rows: int, queries: int, keys: int) -> Tensor:
    """[B, Tq, Tk] bool."""
    whole = AttentionMask(
        mask.additive if mask.additive is not None else torch.zeros(1, 1, 1, 1), mask.causal
    )
    additive = whole.resolved(queries, keys, None, FP32, torch.device("cpu")).additive
    return additive.expand(rows, 1, queries, keys)[:, 0] == 0


def rule(kind: str, seg: Tensor, row: int, query: int, key: int) -> bool:
    """What UER-py lets a real query see, except keys that are padding in front of the text."""
    ids = seg[row]
    if not bool((ids > 0).any()):
        return key <= query if kind == "causal" else True
    real, prefix, past = bool(ids[key] > 0), bool(ids[key] == 1), key <= query
    return {
        "fully_visible": real,
        "causal": past and real,
        "causal_with_prefix": real + prefix + past >= 2 and real,
    }[kind]


@settings(deadline=None)
@given(
    st.sampled_from(NAMES),
    st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1, max_size=3),
)
def test_masks_follow_the_rules(kind: str, rows: list[list[int]]) -> None:
    seg = torch.tensor(rows)
    real = real_tokens(seg)
    seen = visible(self_attention_mask(kind, seg, dtype=FP32), len(rows), 5, 5)
    for row in range(len(rows)):
        for query in range(5):
            if real[row, query]:
                expected = [rule(kind, seg, row, query, key) for key in range(5)]
                assert seen[row, query].tolist() == expected


@pytest.mark.parametrize("kind", NAMES)
def test_the_last_queries_behind_a_cache_see_what_they_see_in_the_whole(kind: str) -> None:
    seg = torch.tensor([[1, 1, 2, 2, 2], [0, 1, 1, 2, 2]])
    whole = visible(self_attention_mask(kind, seg, dtype=FP32), 2, 5, 5)
    for queries in (1, 2, 4):
        part = visible(self_attention_mask(kind, seg, queries=queries, dtype=FP32), 2, queries, 5)
        assert torch.equal(part, whole[:, -queries:])


def test_nothing_is_masked_where_nothing_is_hidden() -> None:
    full, ragged = torch.ones(2, 4, dtype=torch.long), torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    assert self_attention_mask("fully_visible", full, dtype=FP32).additive is None
    layout = Layout.from_seg(ragged)
    assert self_attention_mask("causal", layout.pack(ragged), layout=layout, dtype=FP32).additive is None
    one = self_attention_mask("causal", full, queries=1, dtype=FP32)
    assert one.additive is None and not one.causal
    assert cross_attention_mask(full, dtype=FP32).additive is None
    hidden = cross_attention_mask(layout.pack(ragged), memory_layout=layout, dtype=FP32).additive
    assert torch.equal(hidden == 0, layout.real[:, None, None])


def test_additive_numbers_are_finite_in_every_type() -> None:
    seg = torch.tensor([[0, 1, 1]])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        additive = self_attention_mask("fully_visible", seg, dtype=dtype).additive
        assert additive.dtype == dtype and bool(additive.isfinite().all())


def test_bias_and_causality_are_merged() -> None:
    bias = torch.randn(1, 2, 3, 3)
    merged = AttentionMask(None, causal=True).resolved(3, 3, bias, FP32, bias.device)
    below = torch.ones(3, 3).tril().bool()
    assert not merged.causal and torch.equal(merged.additive[..., below], bias[..., below])
    assert bool((merged.additive[..., ~below] < -1e38).all())


def test_the_type_of_scores_is_that_of_autocast() -> None:
    x = torch.zeros(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert compute_dtype(x) == torch.bfloat16
    assert compute_dtype(x) == FP32


def test_names() -> None:
    assert tuple(MASKS) == NAMES
    with pytest.raises(ConfigError, match=r"--mask 'causl' is unknown.*Did you mean 'causal'"):
        self_attention_mask("causl", torch.ones(1, 1), dtype=FP32)
