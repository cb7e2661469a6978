"""Low-rank adapters of linear layers (LoRA, Hu et al. 2021)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoraLinear(nn.Linear):
    """x·Wᵀ + b + (α/r)·B·A·dropout(x), with W and b those of a linear layer, under the same names.

    A [r, in] begins random and B [out, r] at zero, so at first nothing changes.

    Args:
        base: its parameters are taken over, not copied. rank: r. alpha: α.
    """

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        place = {"device": base.weight.device, "dtype": base.weight.dtype, "bias": False}
        self.lora_A = nn.Linear(base.in_features, rank, **place)
        self.lora_B = nn.Linear(rank, base.out_features, **place)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)
        self.scale, self.dropout = alpha / rank, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]"""
        return F.linear(x, self.weight, self.bias) + self.lora_B(self.lora_A(self.dropout(x))) * self.scale

    def merged(self) -> Tensor:
        """W + (α/r)·B·A, [out, in]."""
        return self.merged_of(self.weight, self.lora_A.weight, self.lora_B.weight)

    @torch.no_grad()
    def merged_of(self, weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """W + (α/r)·B·A of a W [out, in], A [r, in] and B [out, r] from elsewhere."""
        return weight + self.scale * (up @ down)

    def plain(self) -> nn.Linear:
        """A linear layer that computes the same without dropout."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        layer.weight, layer.bias = nn.Parameter(self.merged()), self.bias
        return layer
