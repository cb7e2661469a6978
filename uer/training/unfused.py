"""Optimisers written in tensor operations: Adafactor and Lion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from uer.training.adamw import Optimizer, with_gradient


class UnfusedOptimizer(Optimizer, ABC):
    """An optimiser written in tensor operations: scaling and skipping are done here, before `update`."""

    @torch.no_grad()
    def step(
        self, closure: None = None, *, grad_scale: Tensor | None = None, found_inf: Tensor | None = None
    ) -> None:
        """Update all parameters that have a gradient."""
        if found_inf is not None and bool(found_inf):
            return
        for group in self.param_groups:
            params, grads = with_gradient(group)
            if params and grad_scale is not None:
                torch._foreach_div_(grads, grad_scale)
            for param, grad in zip(params, grads):
                self.update(param, grad, group)

    @abstractmethod
    def update(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """Update one parameter (or a piece of some) in place."""


class Adafactor(UnfusedOptimizer):
    """Adafactor with an external learning rate and without a first moment (Shazeer and Stern, 2018).

    β_k = 1 - k^-0.8;   second moment of g² + ε with β_k, from two dimensions on factored over the last two
    u = g / √v̂;   u ← u / max(1, rms(u) / clip);   p ← p - lr·λ·p;   p ← p - lr·u
    """

    kept_whole = ("step", "exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col")

    def __init__(
        self,
        groups: Iterable[Any],
        *,
        lr: float,
        eps: float = 1e-30,
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
    ) -> None:
        defaults = {"eps": eps, "clip_threshold": clip_threshold, "decay_rate": decay_rate}
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, **defaults})

    @staticmethod
    def _prepare(grad: Tensor, state: dict[str, Tensor]) -> None:
        state["step"] = torch.zeros((), dtype=torch.float32)
        if grad.dim() >= 2:
            state["exp_avg_sq_row"] = grad.new_zeros(grad.shape[:-1])
            state["exp_avg_sq_col"] = grad.new_zeros(grad.shape[:-2] + grad.shape[-1:])
        else:
            state["exp_avg_sq"] = torch.zeros_like(grad)

    def update(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """Update one parameter in place."""
        gathered = self.wholes.gather(param, grad)
        steps = (self.direction(whole, self.state[key], group) for key, whole in gathered)
        if group["weight_decay"]:
            param.mul_(1 - group["lr"] * group["weight_decay"])
        param.add_(self.wholes.cut(param, steps), alpha=-group["lr"])

    def direction(self, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
        """u, for the whole gradient of a parameter; takes it into the state."""
        if not state:
            self._prepare(grad, state)
        state["step"] += 1
        keep = 1.0 - float(state["step"]) ** group["decay_rate"]
        square = grad.square().add_(group["eps"])
        if grad.dim() >= 2:
            row = state["exp_avg_sq_row"].mul_(keep).add_(square.mean(dim=-1), alpha=1 - keep)
            column = state["exp_avg_sq_col"].mul_(keep).add_(square.mean(dim=-2), alpha=1 - keep)
            row_factor = (row / row.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
            step = grad * row_factor * column.rsqrt().unsqueeze(-2)
        else:
            step = grad * state["exp_avg_sq"].mul_(keep).add_(square, alpha=1 - keep).rsqrt()
        rms = step.norm() / step.numel() ** 0.5
        return step.div_((rms / group["clip_threshold"]).clamp_(min=1.0))


class Lion(UnfusedOptimizer):
    """Lion: the sign of a mean of the gradients (Chen et al., 2023).

    p ← p - lr·λ·p;   p ← p - lr·sign(β1·m + (1 - β1)·g);   m ← β2·m + (1 - β2)·g

    Its rate is 3 to 10 times lower than AdamW's, its decay as many times higher.
    """

    def __init__(self, groups: Iterable[Any], *, lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "betas": betas})

    def update(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """Update one parameter in place."""
        state = self.state[param]
        if not state:
            state["exp_avg"] = torch.zeros_like(param)
        mean, (fast, slow) = state["exp_avg"], group["betas"]
        if group["weight_decay"]:
            param.mul_(1 - group["lr"] * group["weight_decay"])
        param.add_(torch.lerp(grad, mean, fast).sign_(), alpha=-group["lr"])
        mean.lerp_(grad, 1 - slow)
