"""First values of parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

STD = 0.02


def initialize(model: nn.Module, *, deep_init: bool = False, names: Iterable[str] | None = None) -> None:
    """Fill parameters from torch's generator: weights N(0, 0.02), biases 0, norms 1 and 0.

    With `deep_init` the weights that end a residual branch (`linear_2`, `final_linear`) get N(0, 0.02/√(2N)),
    N the encoder's layers (GPT-2, Radford et al. 2019, section 2.3).

    Args:
        names: only these parameters, for what a loaded file lacks.
    """
    wanted = set(model.state_dict() if names is None else names)  # a frozen teacher's are not among them
    depth = model.config.layers_num if deep_init else 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in wanted:
                _fill(name, parameter, depth)


def _fill(name: str, parameter: nn.Parameter, depth: int) -> None:
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "gamma" or (leaf == "weight" and "layer_norm" in name):
        parameter.fill_(1.0)
    elif leaf in ("beta", "bias") or leaf.startswith("bias_") or "conv_b" in name or "gate_b" in name:
        parameter.zero_()
    elif depth and name.endswith(("linear_2.weight", "final_linear.weight")):
        parameter.normal_(0.0, STD / math.sqrt(2 * depth))
    else:
        parameter.normal_(0.0, STD)
