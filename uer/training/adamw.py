"""AdamW in both variants, and what all optimisers here have in common.

All are `torch.optim.Optimizer`s whose groups keep the names of their parameters (`param_names`), and whose
`step` takes `grad_scale` (gradients are divided by it: clipping and loss scaling in one pass) and `found_inf`
(1 makes the step do nothing: nothing has to be read back from a GPU to skip it). State values are tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

BETAS, ADAM_EPS = (0.9, 0.999), 1e-6


def with_gradient(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters of a group that got a gradient, and the gradients."""
    params = [param for param in group["params"] if param.grad is not None]
    return params, [param.grad for param in params]


class Wholes:
    """Whole tensors for an optimiser that looks at more than one number at a time. Here it holds them whole;
    an engine that cuts tensors overrides how they are put together and cut. All workers must do both.
    """

    def gather(self, piece: Tensor, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The tensors that `values` has this worker's numbers of, which lie as in `piece`: each with the key
        under which the optimiser keeps its state.
        """
        yield piece, values

    def cut(self, piece: Tensor, wholes: Iterable[Tensor]) -> Tensor:
        """This worker's numbers of whole tensors, in the order of `gather`, as they lie in `piece`."""
        (whole,) = wholes
        return whole


class Optimizer(torch.optim.Optimizer):
    """torch's optimiser, whose own `add_param_group` would import torch.compile, which takes seconds.

    Attributes:
        wholes: how it comes to whole tensors.
        kept_whole: keys of its state that every worker has whole, whatever the engine.
    """

    wholes = Wholes()
    kept_whole: tuple[str, ...] = ("step",)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)


class AdamW(Optimizer):
    """AdamW, computed by torch's fused kernel: one pass over parameter, gradient and both means.

        m ← β1·m + (1 - β1)·g;   v ← β2·v + (1 - β2)·g²
        UER:       p ← p - lr·m / (√v + ε);                        then p ← p - lr·λ·p
        standard:  p ← p - lr·λ·p;   then p ← p - lr·m̂ / (√v̂ + ε),  m̂ = m / (1 - β1^k), v̂ = v / (1 - β2^k)

    Args:
        groups: parameter groups, each with `weight_decay` (λ).
        lr: learning rate.
        bias_correction: the standard variant (Loshchilov and Hutter, 2019) instead of UER's.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        *,
        lr: float,
        bias_correction: bool = False,
        betas: tuple[float, float] = BETAS,
        eps: float = ADAM_EPS,
    ) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "betas": betas, "eps": eps})
        self.bias_correction = bias_correction

    def _state(self, param: Tensor) -> dict[str, Tensor]:
        """The state of one parameter, made on first use."""
        state = self.state[param]
        if not state:
            # The kernel divides by 1 - β^step: an infinite step is the variant without bias correction.
            start = 0.0 if self.bias_correction else torch.inf
            state["step"] = torch.tensor(start, dtype=torch.float32, device=param.device)
            state["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state

    @torch.no_grad()
    def step(
        self, closure: None = None, *, grad_scale: Tensor | None = None, found_inf: Tensor | None = None
    ) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            self.update_group(group, grad_scale, found_inf)

    def update_group(
        self, group: dict[str, Any], grad_scale: Tensor | None, found_inf: Tensor | None
    ) -> None:
        """Update the parameters of one group."""
        params, grads = with_gradient(group)
        if params:
            states = [self._state(param) for param in params]
            rate, decay = group["lr"], group["weight_decay"]
            if not self.bias_correction:
                # Decay after the update is decay before it with both numbers changed: (p - r·u)(1 - r·λ)
                # = p(1 - r·λ) - r(1 - r·λ)·u. So UER's order goes through the same kernel.
                rate, decay = rate * (1 - rate * decay), decay / (1 - rate * decay)
            adamw(
                params,
                grads,
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                grad_scale=grad_scale,
                found_inf=found_inf,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=rate,
                weight_decay=decay,
                eps=group["eps"],
                maximize=False,
            )
