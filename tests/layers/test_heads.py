"""From tokens to the grids of heads and back: against layouts' own ways, and gradients by differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from uer.layers import attention
from uer.layers.attention import MultiHeadedAttention
from uer.layers.heads import from_heads, to_heads
from uer.layers.layout import Layout
from uer.layers.lora import LoraLinear
from uer.layers.masks import self_attention_mask

HEADS, SIZE = 3, 4


def layout_of(lengths: list[int]) -> Layout:
    return Layout.from_seg((torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long())


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 3))
def test_grids_are_those_of_the_layout(lengths: list[int], kinds: int) -> None:
    layout = layout_of(lengths)
    x = torch.randn(layout.tokens, kinds, HEADS, SIZE)
    (grid,) = to_heads(x, layout)
    expected = layout.to_sequences(x).permute(2, 0, 3, 1, 4)
    real = layout.real[None, :, None, :, None].expand_as(expected)
    assert torch.equal(grid[real], expected[real]) and grid.isfinite().all()
    for number, kind in enumerate(grid):
        assert torch.equal(from_heads([kind], layout), x[:, number].flatten(1))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 600), min_size=2, max_size=10), st.integers(1, 3))
def test_parts_hold_each_token_once(lengths: list[int], kinds: int) -> None:
    layout = layout_of(lengths)
    if not layout.parts:
        return
    x = torch.arange(layout.tokens * kinds * HEADS).view(layout.tokens, kinds, HEADS, 1)
    grids = to_heads(x, layout, split=True)
    for grid, part in zip(grids, layout.parts, strict=True):
        assert grid.shape == (kinds, part.layout.sequences, HEADS, part.layout.max_length, 1)
    assert torch.equal(from_heads([grid[-1] for grid in grids], layout), x[:, -1, :, 0])


@pytest.mark.parametrize("lengths", [[3, 1, 2], [2, 2]])
def test_gradients(lengths: list[int]) -> None:
    layout = layout_of(lengths)
    x = torch.randn(layout.tokens, 2, HEADS, SIZE, dtype=torch.float64, requires_grad=True)
    real = layout.real[:, None, :, None]

    def through(y: Tensor) -> Tensor:
        first, second = to_heads(y, layout)[0]  # what stands in the padding may not be read
        return from_heads([(first * second).masked_fill(~real, 0)], layout)

    assert torch.autograd.gradcheck(through, x) and torch.autograd.gradgradcheck(through, x)


@pytest.mark.parametrize("tokens", [2, 40])
def test_one_product_or_three(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = MultiHeadedAttention(12, HEADS, SIZE)
    x = torch.randn(tokens, 12)
    apart = torch.stack([linear(x).view(tokens, HEADS, SIZE) for linear in layer.linear_layers], dim=1)
    torch.testing.assert_close(layer.projections(x), apart)
    torch.testing.assert_close(layer.projections(x, (1, 2)), apart[:, 1:])
    calls = []
    monkeypatch.setattr(attention.F, "linear", lambda *a, f=attention.F.linear: calls.append(1) or f(*a))
    layer.projections(x)
    assert len(calls) == (1 if tokens == 40 else 3)


def test_what_is_more_than_its_weight_is_called() -> None:
    layer = MultiHeadedAttention(12, HEADS, SIZE)
    x = torch.randn(40, 12)
    before = layer.projections(x)
    adapter = LoraLinear(layer.linear_layers[1], rank=2, alpha=4)
    nn.init.normal_(adapter.lora_B.weight)
    layer.linear_layers[1] = adapter
    seen = []
    layer.linear_layers[2].register_forward_hook(lambda *_: seen.append(1))
    after = layer.projections(x)
    torch.testing.assert_close(after[:, 1], adapter(x).view(40, HEADS, SIZE))
    assert seen and not torch.equal(after[:, 1], before[:, 1])
    torch.testing.assert_close(after[:, ::2], before[:, ::2])


def test_padding_changes_neither_result_nor_gradient() -> None:
    layer = MultiHeadedAttention(12, HEADS, SIZE).double()
    lengths = [5, 2, 3]
    layout = layout_of(lengths)
    x = torch.randn(layout.tokens, 12, dtype=torch.float64, requires_grad=True)
    mask = self_attention_mask("fully_visible", torch.ones(layout.tokens), layout=layout, dtype=torch.float64)
    out, _ = layer(x, mask=mask, layout=layout)
    alone = []
    for piece in x.split(lengths):
        whole = Layout.dense(1, len(piece))
        one = self_attention_mask("fully_visible", torch.ones(len(piece)), layout=whole, dtype=torch.float64)
        alone.append(layer(piece, mask=one, layout=whole)[0])
    torch.testing.assert_close(out, torch.cat(alone), rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(out)
    (ours,) = torch.autograd.grad((out * weights).sum(), x, retain_graph=True)
    (theirs,) = torch.autograd.grad((torch.cat(alone) * weights).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
