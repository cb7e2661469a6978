"""Multi-headed attention over a batch with padding ([B, T, H]) or packed ([N, H] and its layout)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.cache import KVCache, MemoryCache
from uer.layers.heads import from_heads, to_heads
from uer.layers.kernels import attend, attend_with_scores
from uer.layers.layout import Layout
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
        read = self._read(query, memory, layout, memory_layout, cache, split=bool(mask.parts))
        outs, scores = [], None
        for (q, k, v), part in zip(read, mask.parts or (mask,), strict=True):
            how = {"mask": part, "scale": self.scale, "dropout": dropout}
            how["bias"] = None if bias is None else bias[..., : q.shape[-2], : k.shape[-2]]
            if self.residual:
                out, scores = attend_with_scores(q, k, v, **how, previous_scores=previous_scores)
            else:
                out = attend(q, k, v, **how)
            outs.append(out)
        out = outs[0].transpose(1, 2).flatten(-2) if layout is None else from_heads(outs, layout)
        return self.final_linear(out), scores

    def projections(self, x: Tensor, numbers: Sequence[int] = (0, 1, 2)) -> Tensor:
        """Of x [..., H] queries (0), keys (1) and values (2), cut into heads: [..., C, A, d]."""
        return self._project(x, [self.linear_layers[number] for number in numbers]).unflatten(
            -1, (len(numbers), self.heads_num, self.head_size)
        )

    def _project(self, x: Tensor, linears: Sequence[nn.Module]) -> Tensor:
        """The results of some linear layers, one behind the other."""
        if len(linears) == 1:
            return linears[0](x)
        # One product in place of three, where copying the weights is cheaper than copying the results.
        if x[..., 0].numel() >= x.shape[-1] and all(map(plain, linears)):
            biases = [linear.bias for linear in linears if linear.bias is not None]
            weight = torch.cat([linear.weight for linear in linears])
            return F.linear(x, weight, torch.cat(biases) if biases else None)
        return torch.cat([linear(x) for linear in linears], dim=-1)

    def scores(self, x: Tensor, layout: Layout) -> Tensor:
        """scale·q·kᵀ of self-attention [N, H] → [S, A, T, T], in fp32 at least, neither masked nor biased."""
        q, k = layout.to_sequences(self.projections(x, (0, 1))).permute(2, 0, 3, 1, 4)
        return at_least_fp32((q * self.scale) @ k.transpose(-1, -2))

    def _read(
        self,
        query: Tensor,
        memory: Tensor | None,
        layout: Layout | None,
        memory_layout: Layout | None,
        cache: KVCache | MemoryCache | None,
        split: bool,
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Queries, keys and values, [S, A, T, d] each, of the sequences or of each part of the layout; with
        those of the cache.
        """
        if memory is None:
            read = _sequences(self.projections(query), layout, split)
            if cache is None:
                return [tuple(part) for part in read]
            q, k, v = read[0]
            return [(q, *cache.append(k, v))]
        (q,) = _sequences(self.projections(query, (0,)), layout)[0]
        if cache is not None and cache.held is not None:
            return [(q, *cache.held)]
        k, v = _sequences(self.projections(memory, (1, 2)), memory_layout)[0]
        if cache is not None:
            cache.held = (k, v)
        return [(q, k, v)]


def plain(linear: nn.Module) -> bool:
    """Whether a layer is its weight and bias alone, and these are here: adapters and quantised layers are
    more, and an engine that brings weights only when their layer is called listens to it.
    """
    return type(linear) is nn.Linear and not linear._forward_pre_hooks and not linear._forward_hooks


def _sequences(x: Tensor, layout: Layout | None, split: bool = False) -> list[Tensor]:
    """[N, C, A, d] with a layout, else [B, T, C, A, d] → [C, S, A, T, d], of each part when `split`."""
    return [x.permute(2, 0, 3, 1, 4)] if layout is None else to_heads(x, layout, split=split)
