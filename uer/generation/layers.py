"""Transformer layers for writing: a step has one token a row, and what counts is how few calls it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from uer.layers.attention import MultiHeadedAttention
from uer.layers.cache import KVCache
from uer.layers.kernels import attend
from uer.layers.masks import AttentionMask
from uer.layers.norms import LayerNorm
from uer.layers.transformer import TransformerLayer

Make = Callable[[nn.Linear], nn.Module]
"""what takes the place of a linear layer"""


class FusedAttention(MultiHeadedAttention):
    """`MultiHeadedAttention` over itself, with the three linear layers of its input as one.

    Args:
        attention: whose weights it takes.
        make: makes the layers.
    """

    def __init__(self, attention: MultiHeadedAttention, make: Make) -> None:
        nn.Module.__init__(self)
        self.heads_num, self.head_size = attention.heads_num, attention.head_size
        self.scale, self.residual, self.dropout = attention.scale, attention.residual, 0.0
        self.qkv = make(joined(attention.linear_layers))
        self.final_linear = make(attention.final_linear)

    def projections(self, x: Tensor, numbers: Sequence[int] = (0, 1, 2)) -> Tensor:
        """See `MultiHeadedAttention.projections`."""
        made = self.qkv(x).unflatten(-1, (3, self.heads_num, self.head_size))
        return made[..., numbers[0] : numbers[-1] + 1, :, :]

    def forward(
        self,
        query: Tensor,
        memory: Tensor | None = None,
        *,
        mask: AttentionMask,
        cache: KVCache | None = None,
        **further: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """See `MultiHeadedAttention.forward`; one new token of each row, [B, 1, H], goes a shorter way."""
        if query.shape[-2] > 1 or cache is None or self.residual:
            return super().forward(query, memory, mask=mask, cache=cache, **further)
        rows = query.shape[0]
        qkv = self.qkv.forward(query).view(rows, 3, self.heads_num, self.head_size)
        k, v = cache.append_one(qkv[:, 1:])
        out = attend(qkv[:, 0].unsqueeze(2), k, v, mask=mask, scale=self.scale)
        return self.final_linear.forward(out.reshape(rows, 1, -1)), None


class FusedLayer(nn.Module):
    """A transformer layer that takes one new token of each row straight through its parts.

    Torch asks at each call of a module whether somebody listens, which costs a third of a step of a small
    model: here the parts are called as functions.

    Args:
        layer: with a `FusedAttention`; it serves whatever is more than one token a row.
    """

    def __init__(self, layer: TransformerLayer) -> None:
        super().__init__()
        self.layer, self.pre = layer, layer.pre
        self._attend = layer.self_attn.forward
        self._feed_forward = layer.feed_forward.forward
        self._norm_1, self._norm_2 = called(layer.layer_norm_1), called(layer.layer_norm_2)

    def forward(
        self, hidden: Tensor, *, mask: AttentionMask, cache: KVCache | None = None, **further: Any
    ) -> tuple[Tensor, Tensor | None]:
        """See `TransformerLayer.forward`."""
        if cache is None or hidden.shape[-2] > 1 or self.layer.self_attn.residual:
            return self.layer(hidden, mask=mask, cache=cache, **further)
        if self.pre:
            hidden = self._attend(self._norm_1(hidden), mask=mask, cache=cache)[0].add_(hidden)
            return self._feed_forward(self._norm_2(hidden)).add_(hidden), None
        hidden = self._norm_1(self._attend(hidden, mask=mask, cache=cache)[0].add_(hidden))
        return self._norm_2(self._feed_forward(hidden).add_(hidden)), None

    __call__ = forward


def called(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    """A norm as a function."""
    if type(norm) is not LayerNorm:
        return norm.forward
    return partial(_layer_norm, shape=norm.gamma.shape, gamma=norm.gamma, beta=norm.beta, eps=norm.eps)


def _layer_norm(x: Tensor, shape: torch.Size, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    return torch.layer_norm(x, shape, gamma, beta, eps)


def joined(linears: nn.ModuleList) -> nn.Linear:
    """One linear layer whose outputs are those of all, one behind the other."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=linears[0].bias is not None, device="meta")
    made.weight = nn.Parameter(weight, requires_grad=False)
    if made.bias is not None:
        made.bias = nn.Parameter(torch.cat([linear.bias.detach() for linear in linears]), requires_grad=False)
    return made
