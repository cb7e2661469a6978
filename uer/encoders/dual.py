"""Two complete encoders for the two streams of a dual model."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from uer.layers.output import EncoderOutput


class DualEncoder(nn.Module):
    """Stream i has `encoder_i`; the two may be one module (a siamese network)."""

    def __init__(self, encoder_0: nn.Module, encoder_1: nn.Module) -> None:
        super().__init__()
        self.encoder_0, self.encoder_1 = encoder_0, encoder_1

    def forward(self, number: int, hidden: Tensor, seg: Tensor, **options: Any) -> EncoderOutput:
        """Encoder `number` (0 or 1) on its text; see the encoder for the arguments."""
        return (self.encoder_1 if number else self.encoder_0)(hidden, seg, **options)
