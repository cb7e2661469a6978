"""Optimisers: AdamW (UER's variant and the standard one), Adafactor; their parameter groups and named state.

All are `torch.optim.Optimizer`s whose groups keep the names of their parameters (`param_names`), and whose
`step` takes `grad_scale` (gradients are divided by it: clipping and loss scaling in one pass) and `found_inf`
(1 makes the step do nothing: nothing has to be read back from a GPU to skip it). State values are tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from uer.config.training import OptimizerOptions
from uer.errors import CheckpointError, pick

# Parameters whose names hold one of these are not decayed: biases and all norms (T5's: `layer_norm….weight`).
UNDECAYED = ("bias", "gamma", "beta", "layer_norm")
BETAS, ADAM_EPS = (0.9, 0.999), 1e-6


def _with_gradient(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters of a group that got a gradient, and the gradients."""
    params = [param for param in group["params"] if param.grad is not None]
    return params, [param.grad for param in params]


class Optimizer(torch.optim.Optimizer):
    """torch's optimiser, whose own `add_param_group` would import torch.compile, which takes seconds."""

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
            params, grads = _with_gradient(group)
            if not params:
                continue
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


class UnfusedOptimizer(Optimizer):
    """An optimiser written in tensor operations: scaling and skipping are done here, before `update`."""

    @torch.no_grad()
    def step(
        self, closure: None = None, *, grad_scale: Tensor | None = None, found_inf: Tensor | None = None
    ) -> None:
        """Update all parameters that have a gradient."""
        if found_inf is not None and bool(found_inf):
            return
        for group in self.param_groups:
            params, grads = _with_gradient(group)
            if params and grad_scale is not None:
                torch._foreach_div_(grads, grad_scale)
            for param, grad in zip(params, grads):
                self.update(param, grad, self.state[param], group)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """Update one parameter in place."""
        raise NotImplementedError


class Adafactor(UnfusedOptimizer):
    """Adafactor with an external learning rate and without a first moment (Shazeer and Stern, 2018).

    β_k = 1 - k^-0.8;   second moment of g² + ε with β_k, from two dimensions on factored over the last two
    u = g / √v̂;   u ← u / max(1, rms(u) / clip);   p ← p - lr·λ·p;   p ← p - lr·u
    """

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
    def _prepare(param: Tensor, state: dict[str, Tensor]) -> None:
        state["step"] = torch.zeros((), dtype=torch.float32)
        if param.dim() >= 2:
            state["exp_avg_sq_row"] = param.new_zeros(param.shape[:-1])
            state["exp_avg_sq_col"] = param.new_zeros(param.shape[:-2] + param.shape[-1:])
        else:
            state["exp_avg_sq"] = torch.zeros_like(param)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """Update one parameter in place."""
        if not state:
            self._prepare(param, state)
        state["step"] += 1
        keep = 1.0 - float(state["step"]) ** group["decay_rate"]
        square = grad.square().add_(group["eps"])
        if param.dim() >= 2:
            row = state["exp_avg_sq_row"].mul_(keep).add_(square.mean(dim=-1), alpha=1 - keep)
            column = state["exp_avg_sq_col"].mul_(keep).add_(square.mean(dim=-2), alpha=1 - keep)
            row_factor = (row / row.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
            step = grad * row_factor * column.rsqrt().unsqueeze(-2)
        else:
            step = grad * state["exp_avg_sq"].mul_(keep).add_(square, alpha=1 - keep).rsqrt()
        rms = step.norm() / step.numel() ** 0.5
        step.div_((rms / group["clip_threshold"]).clamp_(min=1.0))
        if group["weight_decay"]:
            param.mul_(1 - group["lr"] * group["weight_decay"])
        param.add_(step, alpha=-group["lr"])


def is_decayed(name: str) -> bool:
    """Whether weight decay applies to the parameter of this name."""
    return not any(part in name for part in UNDECAYED)


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in two groups, decayed and not, each with its names."""
    named = [(name, param) for name, param in named if param.requires_grad]
    groups = [
        {"params": [item for item in named if is_decayed(item[0])], "weight_decay": weight_decay},
        {"params": [item for item in named if not is_decayed(item[0])], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


OPTIMIZERS = {
    "adamw": lambda groups, options: AdamW(
        groups, lr=options.learning_rate, bias_correction=options.adam_bias_correction
    ),
    "adafactor": lambda groups, options: Adafactor(groups, lr=options.learning_rate),
}


def build_optimizer(model: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimiser over the trainable parameters of a model."""
    groups = parameter_groups(model.named_parameters(), options.weight_decay)
    return pick(options.optimizer, OPTIMIZERS, "--optimizer")(groups, options)


def named_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as `key:parameter name` → tensor, for a file."""
    return {
        f"{key}:{name}": value
        for group in optimizer.param_groups
        for name, param in zip(group["param_names"], group["params"])
        for key, value in optimizer.state.get(param, {}).items()
    }


def load_named_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], source: str) -> None:
    """Take over what `named_state` gave.

    Raises:
        CheckpointError: a tensor belongs to no parameter of this model, or has another shape.
    """
    params = {
        name: param
        for group in optimizer.param_groups
        for name, param in zip(group["param_names"], group["params"])
    }
    optimizer.state.clear()
    for full, value in tensors.items():
        key, _, name = full.partition(":")
        param = params.get(name)
        if param is None:
            raise CheckpointError(
                f"{source}: holds the state of a parameter '{name}' that is not trained now; "
                "resume with the flags of the first run."
            )
        if (
            key.startswith("exp_avg")
            and "_row" not in key
            and "_col" not in key
            and value.shape != param.shape
        ):
            raise CheckpointError(
                f"{source}: the state of '{name}' has shape {list(value.shape)}, "
                f"the model's {list(param.shape)}; resume with the model of the first run."
            )
        place = "cpu" if key == "step" and isinstance(optimizer, UnfusedOptimizer) else param.device
        optimizer.state[param][key] = value.to(place).clone()


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The Euclidean norm of all gradients together, a scalar; not finite if any of them is not."""
    grads = [param.grad for param in parameters if param.grad is not None]
    return nn.utils.get_total_norm(grads) if grads else torch.zeros(())
