"""Muon: steps of matrices made orthogonal; everything that is no matrix of a layer goes by AdamW."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from uer.training.adamw import AdamW, with_gradient

MOMENTUM = 0.95
# Coefficients of the quintic Newton-Schulz iteration and its length, from Jordan et al. 2024.
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5


def orthogonal(matrix: Tensor) -> Tensor:
    """About U·Vᵀ of the matrix U·S·Vᵀ: singular values all near 1, by the Newton-Schulz iteration.

    x ← a·x + (b·A + c·A²)·x with A = x·xᵀ, from x = matrix / ‖matrix‖. In bf16 on a GPU.
    """
    x = matrix.bfloat16() if matrix.device.type == "cuda" else matrix
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / wide.norm().clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return (wide if x.shape[0] <= x.shape[1] else wide.T).to(matrix.dtype)


class Muon(AdamW):
    """Muon for the groups marked `matrix`, AdamW for the others.

        m ← μ·m + (1 - μ)·g;   u = orthogonal((1 - μ)·g + μ·m)
        p ← p - lr·λ·p;   p ← p - lr·0.2·√max(rows, columns)·u

    The last factor gives steps the size of AdamW's, so one rate serves both (Liu et al., 2025).
    """

    def update_group(
        self, group: dict[str, Any], grad_scale: Tensor | None, found_inf: Tensor | None
    ) -> None:
        """Update the parameters of one group."""
        if not group.get("matrix"):
            super().update_group(group, grad_scale, found_inf)
            return
        if found_inf is not None and bool(found_inf):
            return
        for param, grad in zip(*with_gradient(group)):
            if grad_scale is not None:
                grad.div_(grad_scale)
            state = self.state[param]
            mean = state.setdefault("momentum", torch.zeros_like(param))
            mean.lerp_(grad, 1 - MOMENTUM)
            matrices = self.wholes.gather(param, torch.lerp(grad, mean, MOMENTUM))
            steps = (orthogonal(x) * (0.2 * math.sqrt(max(x.shape))) for _, x in matrices)
            param.mul_(1 - group["lr"] * group["weight_decay"])
            param.add_(self.wholes.cut(param, steps), alpha=-group["lr"])
