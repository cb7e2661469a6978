"""Dropout, with cheap random numbers on the CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 1 << 16


def dropout(x: Tensor, rate: float) -> Tensor:
    """x with each number zeroed at `rate`, the others divided by what is kept (Srivastava et al. 2014).

    On the CPU one 64-bit draw of torch's generator decides over four numbers, since drawing is most of the
    work of torch's own dropout there. So `rate` is rounded to a multiple of 2⁻¹⁶; the division uses the
    rounded one.
    """
    dropped = round(rate * LEVELS)
    if x.device.type != "cpu" or not 0 < dropped < LEVELS:
        return F.dropout(x, rate) if rate else x
    return _Masked.apply(x, _kept(x, dropped), LEVELS / (LEVELS - dropped))


class _Masked(torch.autograd.Function):
    """scale·mask·x in one pass, and one pass for its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        """x, mask: of one shape and type."""
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return torch.addcmul(x.new_zeros(()), x, mask, value=scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """In the shape of x."""
        return _Masked.apply(gradient, ctx.saved_tensors[0], ctx.scale), None, None


def _kept(x: Tensor, dropped: int) -> Tensor:
    """In the shape and type of x: 0 with a chance of `dropped` in 2¹⁶, else 1."""
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int16)[: x.numel()].view(x.shape)
    with torch.no_grad():
        return torch.ge(levels, dropped - LEVELS // 2, out=torch.empty(x.shape, dtype=x.dtype))


class Dropout(nn.Module):
    """`dropout` in training, nothing in evaluation."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape → the same shape."""
        return dropout(x, self.rate) if self.training else x
