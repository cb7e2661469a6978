"""How weights, gradients and optimiser state lie over the workers: one small interface, three engines."""

from __future__ import annotations

import torch
from torch import nn

from uer.config.training import DistributedOptions
from uer.errors import ConfigError
from uer.training.engines.base import Engine
from uer.training.workers import Workers
from uer.utils.lazy import pick_class

ENGINES = {
    "ddp": "uer.training.engines.base:Engine",
    "fsdp": "uer.training.engines.fsdp:ShardedEngine",
    "deepspeed": "uer.training.engines.zero:ZeroEngine",
}


def build_engine(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    workers: Workers,
    options: DistributedOptions,
) -> Engine:
    """The engine of `--engine` around a model and its optimiser, which hold their first values.

    Raises:
        ConfigError: engine and model do not go together, or the engine's file is wrong.
        EnvironmentFault: the engine's package is not installed.
    """
    name = options.chosen_engine
    partly = name == "deepspeed" and getattr(model, "partly_used", False)
    if partly and getattr(model, "target", None) is not None:
        raise ConfigError(
            "--engine deepspeed needs a gradient of every weight, and here the last layer or the head of a "
            "model or student has none; take --engine fsdp or ddp."
        )
    if partly:
        raise ConfigError(
            "--engine deepspeed updates the weights that a batch does not use too, as if their gradients "
            "were zero, and this model must leave them as they are; take --engine fsdp or ddp."
        )
    engine = pick_class(name, ENGINES, "--engine")
    return engine(model, optimizer, workers, options)
