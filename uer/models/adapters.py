"""Adapters in a model: which layers have one, what is trained beside them, how they are merged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uer.errors import ConfigError
from uer.layers.lora import LoraLinear

# What `--lora_targets` names → the end of the names of such layers.
TARGETS = {
    "query": r"(?:self|context)_attn\.linear_layers\.0",
    "key": r"(?:self|context)_attn\.linear_layers\.1",
    "value": r"(?:self|context)_attn\.linear_layers\.2",
    "output": r"(?:self|context)_attn\.final_linear",
    "feed_forward": r"feed_forward\.linear_\w+",
}

FACTORS = ("weight", "lora_A.weight", "lora_B.weight")


@dataclass(frozen=True)
class Adapters:
    """How the adapters of a model were made.

    Attributes:
        rank, alpha, dropout: of each. base: the weights below them, as the user named them.
        family: the Hugging Face family that these came from, or None.
    """

    rank: int
    alpha: float
    dropout: float
    base: str | None
    family: str | None


def add_adapters(
    model: nn.Module, made: Adapters, *, targets: Iterable[str], head: Iterable[str]
) -> list[str]:
    """Put adapters on layers and leave only them and the head to be trained; the names of the layers.

    Args:
        targets: names of `TARGETS`. head: regular expressions of the parameters that are trained as they are.

    Raises:
        ConfigError: the model has no such layer.
    """
    pattern = re.compile("|".join(rf"(?:^|.*\.){TARGETS[name]}$" for name in targets))
    layers = (name for name, module in model.named_modules() if type(module) is nn.Linear)
    found = [name for name in layers if pattern.match(name)]
    if not found:
        raise ConfigError(
            f"--lora_targets {' '.join(targets)}: this model has no such layer; adapters are for "
            "transformers (--encoder transformer)."
        )
    for param in model.parameters():
        param.requires_grad_(False)
    for name in found:
        layer = LoraLinear(model.get_submodule(name), rank=made.rank, alpha=made.alpha, dropout=made.dropout)
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent)
        if isinstance(owner, nn.ModuleList):
            owner[int(leaf)] = layer
        else:
            setattr(owner, leaf, layer)
    for name, param in model.named_parameters():
        if any(re.match(pattern, name) for pattern in head):
            param.requires_grad_(True)
    model.adapters = made
    return found


def adapted(model: nn.Module) -> dict[str, LoraLinear]:
    """The layers that have an adapter, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def merged_state(model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state dict of the model as it would be without adapters and computing the same, on the CPU.

    Args:
        weights: all weights, whole, when the model does not hold them so.
    """
    weights = model.state_dict() if weights is None else weights
    merged = {
        id(layer.weight): layer.merged_of(*(weights[f"{name}.{part}"] for part in FACTORS)).cpu()
        for name, layer in adapted(model).items()
    }
    return {
        name: merged.get(id(x), weights[name]).detach().cpu()
        for name, x in model.state_dict(keep_vars=True).items()
        if not re.search(r"\.lora_[AB]\.weight$", name)
    }


def unmerged_state(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `merged_state` gave, as the state dict of the model with adapters, which are zero."""
    factors = {}
    for name, layer in adapted(model).items():
        for part, factor in (("lora_A", layer.lora_A), ("lora_B", layer.lora_B)):
            factors[f"{name}.{part}.weight"] = torch.zeros(factor.out_features, factor.in_features)
    return {**state, **factors}


def merge_adapters(model: nn.Module) -> None:
    """Take the adapters into the layers; the model computes the same, without them."""
    for name in adapted(model):
        parent, _, leaf = name.rpartition(".")
        owner, plain = model.get_submodule(parent), model.get_submodule(name).plain()
        if isinstance(owner, nn.ModuleList):
            owner[int(leaf)] = plain
        else:
            setattr(owner, leaf, plain)
    model.adapters = None


def trained_besides(model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The parameters that are trained without an adapter, by name, on the CPU.

    Args:
        weights: all weights, whole, when the model does not hold them so.
    """
    named = {name: x for name, x in model.named_parameters() if x.requires_grad and ".lora_" not in name}
    return {name: (x if weights is None else weights[name]).detach().cpu() for name, x in named.items()}
