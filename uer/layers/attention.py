"""Multi-headed attention over a batch with padding ([B, T, H]) or packed ([N, H] and its layout)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from uer.layers.cache import KVCache, MemoryCache
from uer.layers.kernels import attend, attend_with_scores
from uer.layers.layout import Layout, take_rows
from uer.layers.masks import AttentionMask
from uer.layers.norms import at_least_fp32


class MultiHeadedAttention(nn.Module):
    """softmax(q·kᵀ/√d + bias + mask)·v in each head (Vaswani et al. 2017, section 3.2).

    Weights: `linear_layers.0/1/2` make queries, keys and values (H → A·d), `final_linear` A·d → H.

    Args:
        hidden_size: H. heads_num: A. head_size: d, which need not be H / A.
        dropout: rate on the attention probabilities.
        scale: divide the scores by √d; T5 does not.
        residual: add the scores of the layer before, and hand this layer's on (RealFormer).
    """

    def __init__(
        self,
        hidden_size: int,
        heads_num: int,
        head_size: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        scale: bool = True,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.heads_num, self.head_size = heads_num, head_size
        self.dropout, self.residual = dropout, residual
        self.scale = 1 / math.sqrt(head_size) if scale else 1.0
        inner = heads_num * head_size
        self.linear_layers = nn.ModuleList(nn.Linear(hidden_size, inner, bias=bias) for _ in range(3))
        self.final_linear = nn.Linear(inner, hidden_size, bias=bias)

    def forward(
        self,
        query: Tensor,
        memory: Tensor | None = None,
        *,
        mask: AttentionMask,
        bias: Tensor | None = None,
        layout: Layout | None = None,
        memory_layout: Layout | None = None,
        cache: KVCache | MemoryCache | None = None,
        previous_scores: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from `query` to `memory`, or to itself.

        Args:
            query: [B, Tq, H], or [N, H] with `layout`.
            memory: [B, Tk, H], or [M, H] with `memory_layout`; None: the query itself.
            mask: see `AttentionMask`, over sequences when there is a layout.
            bias: broadcastable to [B, A, Tq, Tk], added after the scale.
            cache: keys and values of earlier steps (`KVCache`); with a memory those of it (`MemoryCache`).
            previous_scores: [B, A, Tq, Tk], of the layer before, when `residual`.

        Returns:
            the result in the shape of `query`, and the scores for the next layer when `residual`, else None.
        """
        dropout = self.dropout if self.training else 0.0
        if mask.parts:
            return self.final_linear(self._by_parts(query, mask, bias, layout, dropout).flatten(-2)), None
        q, k, v = self._read(query, memory, layout, memory_layout, cache)
        scores = None
        if self.residual:
            out, scores = attend_with_scores(
                q, k, v, mask=mask, bias=bias, scale=self.scale, dropout=dropout,
                previous_scores=previous_scores,
            )  # fmt: skip
        else:
            out = attend(q, k, v, mask=mask, bias=bias, scale=self.scale, dropout=dropout)
        out = out.transpose(1, 2)  # [S, Tq, A, d]
        if layout is not None:
            out = layout.from_sequences(out)
        return self.final_linear(out.flatten(-2)), scores

    def _by_parts(
        self, x: Tensor, mask: AttentionMask, bias: Tensor | None, layout: Layout, dropout: float
    ) -> Tensor:
        """Self-attention [N, H] → [N, A, d], apart for sequences of different length."""
        projected = self.projections(x)
        outs = []
        for part, part_mask in zip(layout.parts, mask.parts, strict=True):
            size = part.layout.max_length
            q, k, v = (part.layout.to_sequences(take_rows(y, part.tokens)).transpose(1, 2) for y in projected)
            part_bias = None if bias is None else bias[..., :size, :size]
            out = attend(q, k, v, mask=part_mask, bias=part_bias, scale=self.scale, dropout=dropout)
            outs.append(part.layout.from_sequences(out.transpose(1, 2)))
        return take_rows(torch.cat(outs), layout.parts_order)

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x [..., H], cut into heads: [..., A, d] each."""
        return self._project(0, x), self._project(1, x), self._project(2, x)

    def scores(self, x: Tensor, layout: Layout) -> Tensor:
        """scale·q·kᵀ of self-attention [N, H] → [S, A, T, T], in fp32 at least, neither masked nor biased."""
        q, k = (_sequences(self._project(number, x), layout) for number in (0, 1))
        return at_least_fp32((q * self.scale) @ k.transpose(-1, -2))

    def _project(self, number: int, x: Tensor) -> Tensor:
        """Linear layer `number` of x [..., H], cut into heads: [..., A, d]."""
        return self.linear_layers[number](x).unflatten(-1, (self.heads_num, self.head_size))

    def _read(
        self,
        query: Tensor,
        memory: Tensor | None,
        layout: Layout | None,
        memory_layout: Layout | None,
        cache: KVCache | MemoryCache | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values over sequences, with those of the cache: [S, A, T, d] each."""
        if memory is None:
            q, k, v = (_sequences(x, layout) for x in self.projections(query))
            return (q, k, v) if cache is None else (q, *cache.append(k, v))
        q = _sequences(self._project(0, query), layout)
        if cache is not None and cache.held is not None:
            return q, *cache.held
        k, v = (_sequences(self._project(number, memory), memory_layout) for number in (1, 2))
        if cache is not None:
            cache.held = (k, v)
        return q, k, v


def _sequences(x: Tensor, layout: Layout | None) -> Tensor:
    """[N, A, d] with a layout, else [B, T, A, d] → [S, A, T, d]"""
    return (x if layout is None else layout.to_sequences(x)).transpose(1, 2)
