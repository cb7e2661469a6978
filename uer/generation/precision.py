"""A loaded model made ready to generate: its device, and how many bytes a weight has.

With one text at a time every token reads all weights once, so the speed is the memory's bandwidth over the
bytes of the weights: two bytes (bf16) or one (int8) are faster than four.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from uer.errors import EnvironmentFault

ENGINE = "fbgemm"


def ready(model: nn.Module, precision: str = "fp32", *, rows: int | None = None) -> nn.Module:
    """The model on the fastest device, in evaluation mode; from now on it can only be used.

    Args:
        precision: "fp32", "bf16" or "int8" (`uer.config.generation.PRECISIONS`).
        rows: how many rows most steps will have, when they have one token each: on a CPU the weights are then
            laid out for that.

    Raises:
        EnvironmentFault: int8 on a machine that has no kernels for it.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().requires_grad_(False).to(device)
    if precision == "int8":
        _check_int8(device)
        _replace(model, Int8Linear)
        return model
    if precision == "bf16":
        model.to(torch.bfloat16)
    if rows is not None and device.type == "cpu" and _can_pack(precision):
        _replace(model, lambda linear: PackedLinear(linear, rows))
    return model


def _can_pack(precision: str) -> bool:
    return torch.backends.mkldnn.is_available() and (
        precision == "fp32" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _check_int8(device: torch.device) -> None:
    if device.type != "cpu" or ENGINE not in torch.backends.quantized.supported_engines:
        raise EnvironmentFault(
            f"--precision int8 needs a CPU for which torch brings {ENGINE} (x86-64), this is {device.type}; "
            "take --precision bf16."
        )


def _replace(model: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Put what `make` makes of it in the place of each linear layer; one used twice stays one."""
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, nn.Linear):
                if child not in made:
                    made[child] = make(child)
                setattr(parent, name, made[child])


class PackedLinear(nn.Module):
    """A linear layer whose weight lies in the blocks in which oneDNN reads it.

    Args:
        linear: the layer, fp32 or bf16. rows: the number of rows to lay it out for; others work too.
    """

    def __init__(self, linear: nn.Linear, rows: int) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """[…, rows, in] → […, rows, out]"""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


class Int8Linear(nn.Module):
    """A linear layer with weights of one byte, a scale for each output; inputs are rounded too.

    Products are summed exactly; the rounding of weights and inputs is all that is lost.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        largest = torch.linalg.vector_norm(weight, math.inf, dim=1)
        scale = (largest / 127).clamp_(min=1e-12).double()
        zero = torch.zeros(len(scale), dtype=torch.long)
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = ENGINE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces another home for its quantised tensors
            rounded = torch.quantize_per_channel(weight, scale, zero, 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(rounded, linear.bias)
        torch.backends.quantized.engine = before
        # Without VNNI the kernel sums pairs of products in 16 bits: inputs of 7 bits cannot overflow them.
        self.seven_bits = not torch.cpu._is_vnni_supported()

    def forward(self, x: Tensor) -> Tensor:
        """fp32 […, rows, in] → […, rows, out]; the inputs share one scale"""
        return torch.ops.quantized.linear_dynamic(x, self.packed, self.seven_bits)
