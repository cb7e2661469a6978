"""A loaded model made ready to generate: its device, and how many bytes a weight has.

With one text at a time every token reads all weights once, so the speed is the memory's bandwidth over the
bytes of the weights: two bytes (bf16) or one (int8) are faster than four.
"""

from __future__ import annotations

import torch
from torch import nn


def ready(model: nn.Module, precision: str = "fp32") -> nn.Module:
    """The model on the fastest device, in evaluation mode, without gradients.

    Args:
        precision: "fp32", "bf16" or "int8" (`uer.config.generation.PRECISIONS`).
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().requires_grad_(False).to(device)
    if precision == "bf16":
        model.to(torch.bfloat16)
    return model
