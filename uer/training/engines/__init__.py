"""How weights, gradients and optimiser state lie over the workers: one small interface, three engines."""

from __future__ import annotations

import torch
from torch import nn

from uer.config.training import DistributedOptions
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
        ConfigError: the engine's file is wrong.
        EnvironmentFault: the engine's package is not installed.
    """
    name = options.chosen_engine
    engine = pick_class(name, ENGINES, "--engine")
    return engine(model, optimizer, workers, options)
