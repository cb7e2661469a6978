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
WHOLE = ("adafactor", "muon")
"""optimisers that look at whole matrices, which no worker of a sharding engine has"""


def build_engine(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    workers: Workers,
    options: DistributedOptions,
    *,
    optimizer_name: str = "adamw",
    needs_whole: str | None = None,
) -> Engine:
    """The engine of `--engine` around a model and its optimiser, which hold their first values.

    Args:
        needs_whole: a flag of this run that needs all weights in one place.

    Raises:
        ConfigError: engine and optimiser (or that flag) do not go together, or the engine's file is wrong.
        EnvironmentFault: the engine's package is not installed.
    """
    name = options.chosen_engine
    if name != "ddp":
        cause = needs_whole or (f"--optimizer {optimizer_name}" if optimizer_name in WHOLE else None)
        if cause is None and getattr(model, "partly_used", False) and name == "deepspeed":
            cause = "a model of several data sets"
        if cause is not None:
            raise ConfigError(
                f"--engine {name} cuts tensors in pieces and {cause} needs them whole; take --engine ddp."
            )
    engine = pick_class(name, ENGINES, "--engine")
    return engine(model, optimizer, workers, options)
