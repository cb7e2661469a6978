"""What encoders and decoders return."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class EncoderOutput(NamedTuple):
    """The result of an encoder or a decoder, in the layout of its input ([N, H] or [B, L, H])."""

    hidden: Tensor
    """the last layer, after the final norm if there is one"""
    layers: list[Tensor] | None = None
    """on request: the input of the first layer, then the output of each; the last entry is `hidden`"""
    memories: Any | None = None
    """what an encoder with memory hands to the next segment"""
