"""Positions: the buckets of T5's relative bias, and sinusoidal tables."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def relative_buckets(
    distance: Tensor, buckets_num: int, *, bidirectional: bool, max_distance: int = 128
) -> Tensor:
    """The bucket of each distance key − query (Raffel et al. 2020, section 2.1).

    With two directions each has half of the buckets, keys behind the query the upper half. Within b buckets
    the distances below b/2 have their own; the others grow logarithmically up to `max_distance`.

    Args:
        distance: int64, any shape.
    """
    if bidirectional:
        buckets_num //= 2
        offset = (distance > 0).long() * buckets_num
        distance = distance.abs()
    else:
        offset = torch.zeros_like(distance)
        distance = (-distance).clamp(min=0)
    exact = buckets_num // 2
    # Computed in fp32 in this order, as the models were trained: the rounding decides at the borders.
    far = (
        torch.log(distance.float().clamp(min=1) / exact)
        / math.log(max_distance / exact)
        * (buckets_num - exact)
    )
    far = (exact + far.long()).clamp(max=buckets_num - 1)
    return offset + torch.where(distance < exact, distance, far)


class RelativePositionBias(nn.Module):
    """A learned number for each head and bucket of distances, added to the scores of attention (T5).

    Args:
        scale: multiplied into the result. UER divides scores and bias together by √d, while our attention
            adds
            the bias after the scale, so under UER's flags this is 1/√d.
    """

    def __init__(self, heads_num: int, buckets_num: int, *, bidirectional: bool, scale: float = 1.0) -> None:
        super().__init__()
        self.buckets_num, self.bidirectional, self.scale = buckets_num, bidirectional, scale
        self.relative_attention_bias = nn.Embedding(buckets_num, heads_num)

    def forward(self, queries: int, keys: int) -> Tensor:
        """[1, A, Tq, Tk]; the last query stands at the last key."""
        device = self.relative_attention_bias.weight.device
        key = torch.arange(keys, device=device)
        query = torch.arange(keys - queries, keys, device=device)
        buckets = relative_buckets(
            key[None, :] - query[:, None], self.buckets_num, bidirectional=self.bidirectional
        )
        return self.relative_attention_bias(buckets).permute(2, 0, 1)[None] * self.scale


def sinusoids_2021(rows: int, size: int) -> Tensor:
    """[rows, size]: row p holds sin(p·f_i), cos(p·f_i) at 2i, 2i+1, f_i = 10000^(−2i/size) (UER-py 2021)."""
    frequency = torch.exp(torch.arange(0, size, 2).float() * -(math.log(10000.0) / size))
    return _interleaved(rows, frequency)


def sinusoids_2024(rows: int, size: int) -> Tensor:
    """[rows, size] as `sinusoids_2021` with f_i = exp(−i·ln 10000 / (size/2 − 1)) (UER-py 2024)."""
    half = size // 2
    frequency = torch.exp(torch.arange(half).float() * -(math.log(10000.0) / max(half - 1, 1)))
    return _interleaved(rows, frequency)


def sinusoids_pegasus(rows: int, size: int) -> Tensor:
    """[rows, size]: as `sinusoids_2021`, but all sines first, then all cosines; computed in fp64
    (PEGASUS).
    """
    frequency = torch.pow(10000.0, torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(rows, dtype=torch.float64)[:, None] / frequency  # [rows, size/2]
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


def _interleaved(rows: int, frequency: Tensor) -> Tensor:
    angle = torch.arange(rows).float()[:, None] * frequency  # [rows, size/2]
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
