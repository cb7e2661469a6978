"""Activation functions by their UER names (`hidden_act`)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from uer.errors import pick

Activation = Callable[[Tensor], Tensor]


def gelu_fast(x: Tensor) -> Tensor:
    """0.5x(1 + tanh(√(2/π)(x + 0.044715x³))) (Hendrycks and Gimpel 2016, section 2), as GPT-2 uses it."""
    return F.gelu(x, approximate="tanh")


def tanh_relu(x: Tensor) -> Tensor:
    """max(tanh x, 0), between the layers of TinyBERT's classifier (Jiao et al. 2020)."""
    return torch.tanh(x).relu()


def linear(x: Tensor) -> Tensor:
    """x"""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "gelu": F.gelu,  # the exact one: x·Φ(x)
    "gelu_fast": gelu_fast,
    "relu": F.relu,
    "silu": F.silu,
    "linear": linear,
    "tanh": torch.tanh,
    "tanh_relu": tanh_relu,
}


def activation(name: str) -> Activation:
    """The function called `name`; an unknown name is a `ConfigError`."""
    return pick(name, ACTIVATIONS, "hidden_act")
