"""The one place that picks how attention is computed. Every choice is the same mathematics.

Shapes: B rows, A heads, Tq queries, Tk keys, d head size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from uer.layers.dropout import dropout as drop
from uer.layers.masks import AttentionMask

KERNELS = {"fused": "torch's fused kernel", "products": "batched products"}
_used: set[str] = set()


def chosen() -> str:
    """The kernels used so far in this process, for the run log."""
    return ", ".join(words for name, words in KERNELS.items() if name in _used) or "none yet"


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: AttentionMask,
    bias: Tensor | None = None,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """softmax(scale·q·kᵀ + bias + mask)·v, with `dropout` on the probabilities.

    Args:
        q: [B, A, Tq, d]. k, v: [B, A, Tk, d].
        bias: broadcastable to [B, A, Tq, Tk], added after the scale.

    Returns:
        [B, A, Tq, d]
    """
    mask = mask.resolved(q.shape[-2], k.shape[-2], bias, q.dtype, q.device)
    name = _choose(q, k, dropout)
    _used.add(name)
    if name == "fused":
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask.additive, dropout_p=dropout, is_causal=mask.causal, scale=scale
        )
    return _products(q, k, v, mask, scale, dropout)


def attend_with_scores(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: AttentionMask,
    bias: Tensor | None = None,
    scale: float,
    dropout: float = 0.0,
    previous_scores: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`attend` with the scores of the layer before added to this layer's (RealFormer, He et al. 2021).

    Returns:
        the result [B, A, Tq, d] and the scores [B, A, Tq, Tk] without mask, for the next layer.
    """
    scores = q @ k.transpose(-1, -2) * scale
    if bias is not None:
        scores = scores + bias
    if previous_scores is not None:
        scores = scores + previous_scores
    mask = mask.resolved(q.shape[-2], k.shape[-2], None, scores.dtype, q.device)
    return _weigh(scores, v, mask, dropout), scores


def _choose(q: Tensor, k: Tensor, dropout: float) -> str:
    """The kernel for these shapes: "fused" is torch's, "products" two plain batched products.

    Measured on a CPU (forward and backward, heads of 64): torch's kernel has no dropout there and falls back
    to a form 1.1 to 2 times slower than ours; in bf16 it is 1.4 to 5 times slower up to 256 keys; else it is
    faster.
    """
    if q.device.type != "cpu":
        return "fused"
    if dropout or (q.dtype == torch.bfloat16 and k.shape[-2] <= 256):
        return "products"
    return "fused"


def _products(q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, scale: float, dropout: float) -> Tensor:
    return _weigh((q * scale) @ k.transpose(-1, -2), v, mask, dropout)


def _weigh(scores: Tensor, v: Tensor, mask: AttentionMask, dropout: float) -> Tensor:
    if mask.causal:
        mask = AttentionMask(torch.zeros((), device=v.device), True).resolved(
            *scores.shape[-2:], None, scores.dtype, v.device
        )
    if mask.additive is not None:
        scores = scores + mask.additive
    # Torch's CPU kernel for bf16 sums in fp32 and rounds once, as a detour over fp32 would.
    weights = torch.softmax(scores, dim=-1).to(v.dtype)
    if dropout:
        weights = drop(weights, dropout)
    return weights @ v
