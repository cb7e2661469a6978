"""Floating-point operations of recurrent layers, which torch computes whole and does not count.

Shapes: S sequences, T tokens, E inputs, H states, G gates of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

Shape = Sequence[int]


def recurrent_flops() -> dict[Any, Callable[..., int]]:
    """Kernel → its operations from the shapes that it is given, for `FlopCounterMode(custom_mapping=…)`."""
    kernels = torch.ops.aten
    return {
        kernels.mkldnn_rnn_layer: _one_layer,
        kernels.mkldnn_rnn_layer_backward: _twice(_one_layer),
        kernels._cudnn_rnn: _all_layers,
        kernels._cudnn_rnn_backward: _twice(_all_layers),
    }


def _one_layer(read: Shape, by_input: Shape, by_state: Shape, *rest: Any, **more: Any) -> int:
    """A layer in one direction on a CPU: read [T, S, E], weights [G·H, E] and [G·H, H]."""
    return 2 * math.prod(read[:-1]) * (math.prod(by_input) + math.prod(by_state))


def _all_layers(read: Shape, weights: Sequence[Shape], *rest: Any, **more: Any) -> int:
    """All layers on a GPU: read [S, T, E], or [N, E] without padding; matrices and biases of all layers."""
    return 2 * math.prod(read[:-1]) * sum(math.prod(shape) for shape in weights if len(shape) == 2)


def _twice(forward: Callable[..., int]) -> Callable[..., int]:
    """A backward pass makes two products for each one: by the inputs, and by the weights."""

    def backward(*shapes: Any, **more: Any) -> int:
        """Operations of the backward pass, which is given what the forward one was given first."""
        return 2 * forward(*shapes, **more)

    return backward
