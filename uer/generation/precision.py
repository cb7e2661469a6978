"""A loaded model made ready to generate: its device, and how many bytes a weight has.

With one text at a time every token reads all weights once, so the speed is the memory's bandwidth over the
bytes of the weights: two bytes (bf16) or one (int8) are faster than four.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn

from uer.errors import EnvironmentFault
from uer.generation.layers import FusedAttention, FusedLayer, Make
from uer.layers.attention import MultiHeadedAttention
from uer.layers.transformer import TransformerLayer

ENGINE = "fbgemm"
MANY = 1024  # rows of a product
SELF = "self_attn"  # what layers call their attention over themselves


def ready(model: nn.Module, precision: str = "fp32", *, rows: int | None = None) -> nn.Module:
    """The model on the fastest device, in evaluation mode; from now on it can only be used.

    On a CPU the linear layers alone have fewer bytes a weight, and what lies between them stays fp32:
    attention over keys and values in bf16 takes 4 to 7 times as long there.

    Args:
        precision: "fp32", "bf16" or "int8" (`uer.config.generation.PRECISIONS`).
        rows: how many rows most steps will have, when they have one token each: on a CPU the weights are then
            laid out for that. None: many, as where whole texts are read.

    Raises:
        EnvironmentFault: int8 on a machine that has no kernels for it.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().requires_grad_(False).to(device)
    if precision == "int8":
        _check_int8(device)
        return replace_layers(model, Int8Linear)
    if device.type == "cpu" and _can_pack(precision) and (precision, rows) != ("fp32", None):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return replace_layers(model, lambda linear: PackedLinear(linear, rows or MANY, dtype))
    return model.to(torch.bfloat16) if precision == "bf16" else model


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


def replace_layers(model: nn.Module, make: Make) -> nn.Module:
    """Put what `make` makes of it in the place of each linear layer; one used twice stays one.

    Self-attention gets one layer for its queries, keys and values, and layers that hold it a shorter way for
    one token.
    """
    made: dict[nn.Module, nn.Module] = {}

    def once(child: nn.Module, new: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """What was made of a layer, the same each time."""
        if child not in made:
            made[child] = new(child)
        return made[child]

    def replace(parent: nn.Module) -> None:
        """The layers below a module."""
        for name, child in list(parent._modules.items()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, once(child, make))
            elif isinstance(child, MultiHeadedAttention) and name == SELF:
                setattr(parent, name, once(child, partial(FusedAttention, make=make)))
            elif child is not None:
                replace(child)
                if isinstance(child, TransformerLayer):
                    setattr(parent, name, once(child, FusedLayer))

    replace(model)
    return model.eval()


class PackedLinear(nn.Module):
    """A linear layer whose weight lies in the blocks in which oneDNN reads it.

    Args:
        linear: the layer.
        rows: the number of rows to lay it out for; others work too.
        dtype: fp32 or bf16, of the weight and of what it is multiplied with; inputs and outputs keep theirs.
    """

    def __init__(self, linear: nn.Linear, rows: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.in_features, self.out_features, self.dtype = linear.in_features, linear.out_features, dtype
        weight = linear.weight.detach().to(dtype)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[…, rows, in] → […, rows, out]"""
        if self.dtype == x.dtype:
            return torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")
        y = torch.ops.mkldnn._linear_pointwise.default(
            x.to(self.dtype), self.weight, self.bias, "none", [], ""
        )
        return y.to(x.dtype)

    __call__ = forward


@cache
def _product_of_bytes() -> Callable[..., Tensor]:
    """The kernel itself: torch looks through all arguments of an operator that takes packed weights first."""
    return torch.ops.quantized.linear_dynamic.default._op


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
        return _product_of_bytes()(x, self.packed, self.seven_bits)

    __call__ = forward
