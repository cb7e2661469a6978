"""What heads read from a body: one vector a sequence, or the hidden states of all tokens."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from uer.encoders.transformer import TransformerEncoder
from uer.layers.layout import Layout
from uer.layers.pooling import pool
from uer.models.model import Inputs, Model

LayoutChoice = Layout | Literal["auto"]


def pooled(model: Model, kind: str, inputs: Inputs, layout: LayoutChoice = "auto") -> Tensor:
    """One vector a row, [B, H], by the pooling `kind`.

    `first` and `last` read one token of each row: there the last layer of a transformer computes no other.
    """
    side = model.source(inputs, layout)
    packed, seg = side.layout, side.streams["seg"]
    hidden = model.embedding(side.streams)
    if kind in ("first", "last") and isinstance(model.encoder, TransformerEncoder):
        only = packed.first if kind == "first" else packed.last
        return model.encoder(hidden, seg, layout=packed, only=only).hidden
    return pool(kind, model.encoder(hidden, seg, layout=packed).hidden, seg, packed)
