"""Attention: every kernel against the formula in fp64, packed against padded, caches, residual scores."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from uer.layers import kernels
from uer.layers.attention import MultiHeadedAttention
from uer.layers.cache import KVCache, MemoryCache
from uer.layers.kernels import attend, attend_with_scores
from uer.layers.layout import Layout
from uer.layers.masks import AttentionMask, self_attention_mask


def formula(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, bias: Tensor, scale: float) -> Tensor:
    """softmax(scale·q·kᵀ + bias)·v over what is not hidden, in fp64."""
    scores = q.double() @ k.double().transpose(-1, -2) * scale + bias.double()
    return torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1) @ v.double()


@pytest.mark.parametrize("kernel", kernels.KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("queries", [6, 2, 1])
def test_kernels_compute_the_formula(
    kernel: str, dtype: torch.dtype, causal: bool, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_choose", lambda *_: kernel)
    torch.manual_seed(0)
    q = torch.randn(2, 3, queries, 8).to(dtype)
    k, v = torch.randn(2, 3, 6, 8).to(dtype), torch.randn(2, 3, 6, 8).to(dtype)
    bias = torch.randn(1, 3, queries, 6).to(dtype)
    real = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]).bool()
    later = torch.ones(queries, 6).triu(6 - queries + 1).bool()
    hidden = ~real[:, None, None, :] | (later if causal else torch.zeros_like(later))
    mask = self_attention_mask(
        "causal" if causal else "fully_visible", real.long(), queries=queries, dtype=dtype
    )
    ours = attend(q, k, v, mask=mask, bias=bias, scale=0.3)
    tolerance = 1e-6 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(
        ours.double(), formula(q, k, v, hidden, bias, 0.3), atol=tolerance, rtol=tolerance
    )


def test_plain_causality_and_no_mask_at_all() -> None:
    q, k, v = torch.randn(3, 2, 2, 5, 4).unbind(0)
    none, later = torch.zeros(5, 5).bool(), torch.ones(5, 5).triu(1).bool()
    for mask, hidden in ((AttentionMask(), none), (AttentionMask(causal=True), later)):
        for dropout in (0.0, 1e-9):
            ours = attend(q, k, v, mask=mask, scale=0.5, dropout=dropout)
            exact = formula(q, k, v, hidden, torch.zeros(1), 0.5)
            torch.testing.assert_close(ours.double(), exact, atol=1e-6, rtol=1e-6)


def test_a_query_that_sees_nothing_stays_finite() -> None:
    seg = torch.tensor([[0, 1, 1]])
    mask = self_attention_mask("causal", seg, dtype=torch.float32)
    q = torch.randn(1, 2, 3, 4)
    for dropout in (0.0, 0.5):
        assert bool(attend(q, q, q, mask=mask, scale=1.0, dropout=dropout).isfinite().all())


def test_dropout_keeps_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    q, k = torch.randn(64, 8, 4, 8), torch.randn(64, 8, 4, 8)
    v = torch.ones(64, 8, 4, 8)
    out = attend(q, k, v, mask=AttentionMask(), scale=1.0, dropout=0.3)
    assert abs(float(out.mean()) - 1) < 0.01 and float(out.std()) > 0.1


def test_the_choice_is_reported() -> None:
    q = torch.randn(1, 1, 2, 4)
    attend(q, q, q, mask=AttentionMask(), scale=1.0)
    attend(q, q, q, mask=AttentionMask(), scale=1.0, dropout=0.5)
    assert kernels.chosen() == "torch's fused kernel, batched products"
    assert kernels._choose(q.bfloat16(), q.bfloat16(), 0.0) == "products"


def test_scores_of_the_layer_before_are_added_without_its_mask() -> None:
    torch.manual_seed(2)
    q, k, v = torch.randn(3, 1, 2, 3, 4).unbind(0)
    mask = self_attention_mask("fully_visible", torch.tensor([[1, 1, 0]]), dtype=torch.float32)
    hidden = torch.tensor([False, False, True])
    first, scores = attend_with_scores(q, k, v, mask=mask, scale=0.5)
    torch.testing.assert_close(first.double(), formula(q, k, v, hidden, torch.zeros(1), 0.5))
    second, _ = attend_with_scores(q, k, v, mask=mask, scale=0.5, previous_scores=scores)
    torch.testing.assert_close(second.double(), formula(q, k, v, hidden, scores, 0.5))
    assert float(scores.abs().max()) < 100  # no mask has come into them


def attention(**options: object) -> MultiHeadedAttention:
    torch.manual_seed(3)
    return MultiHeadedAttention(12, 3, 5, **options).eval()


def test_packed_equals_padded_and_names() -> None:
    module = attention()
    assert module.linear_layers[0].weight.shape == (15, 12) and module.final_linear.weight.shape == (12, 15)
    assert not any(name.endswith("bias") for name in attention(bias=False).state_dict())
    assert attention(scale=False).scale == 1.0
    seg = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    layout, x = Layout.from_seg(seg), torch.randn(2, 4, 12)
    padded, _ = module(x, mask=self_attention_mask("fully_visible", seg, dtype=x.dtype))
    mask = self_attention_mask("fully_visible", layout.pack(seg), layout=layout, dtype=x.dtype)
    packed, _ = module(layout.pack(x), mask=mask, layout=layout)
    torch.testing.assert_close(packed, padded[seg > 0])


def test_against_torch() -> None:
    module = MultiHeadedAttention(12, 3, 4).eval()
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([linear.weight for linear in module.linear_layers]))
        theirs.in_proj_bias.copy_(torch.cat([linear.bias for linear in module.linear_layers]))
        theirs.out_proj.weight.copy_(module.final_linear.weight)
        theirs.out_proj.bias.copy_(module.final_linear.bias)
    x, memory = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    torch.testing.assert_close(module(x, mask=AttentionMask())[0], theirs(x, x, x)[0])
    torch.testing.assert_close(module(x, memory, mask=AttentionMask())[0], theirs(x, memory, memory)[0])


def test_caches_of_keys_and_of_a_memory() -> None:
    module, x, memory = attention(), torch.randn(2, 6, 12), torch.randn(2, 4, 12)
    whole, _ = module(x, mask=AttentionMask(causal=True))
    cache = KVCache(2)  # too small on purpose: it grows
    steps = [
        module(part, mask=AttentionMask(causal=True), cache=cache)[0] for part in x.split([3, 1, 2], dim=1)
    ]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    assert cache.length == 6 and cache.capacity >= 6
    cross, _ = module(x, memory, mask=AttentionMask())
    held = MemoryCache()
    for _ in range(2):  # the second time from the cache: the memory is not read again
        out, _ = module(x, memory if held.held is None else memory * 0, mask=AttentionMask(), cache=held)
        torch.testing.assert_close(out, cross)
