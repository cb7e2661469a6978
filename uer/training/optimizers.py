"""Optimisers by the names of `--optimizer`, and their state under the names of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from uer.config.training import OptimizerOptions
from uer.errors import CheckpointError, pick
from uer.training.adamw import AdamW
from uer.training.muon import Muon
from uer.training.parameters import freeze, parameter_groups
from uer.training.unfused import Adafactor, Lion, UnfusedOptimizer
from uer.utils.logging import logger

OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], OptimizerOptions], torch.optim.Optimizer]] = {
    "adamw": lambda groups, options: AdamW(
        groups, lr=options.learning_rate, bias_correction=options.adam_bias_correction
    ),
    "adafactor": lambda groups, options: Adafactor(groups, lr=options.learning_rate),
    "lion": lambda groups, options: Lion(groups, lr=options.learning_rate),
    "muon": lambda groups, options: Muon(
        groups, lr=options.learning_rate, bias_correction=options.adam_bias_correction
    ),
}


def build_optimizer(model: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimiser over the parameters of a model that are trained; `--freeze` is applied to it.

    Raises:
        ConfigError: `--freeze` matches nothing or everything.
    """
    frozen = freeze(model, options.freeze)
    if frozen:
        logger.info(
            "%d tensors are frozen: %s%s.", len(frozen), ", ".join(frozen[:3]), ", …" * (len(frozen) > 3)
        )
    groups = parameter_groups(model.named_parameters(), options)
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
        if key not in optimizer.kept_whole and value.shape != param.shape:
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
