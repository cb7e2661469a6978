"""The sum of embedding parts, normed and dropped out."""

from __future__ import annotations

from functools import reduce
from operator import add

from torch import Tensor, nn

from uer.embeddings.parts import Streams
from uer.layers.dropout import Dropout


class Embedding(nn.Module):
    """dropout(norm(Σ parts)): streams of any leading shape [...] → [..., E].

    Args:
        parts: name → module, summed in this order; the names become those of the weights.
        layer_norm: None for none.
        dropout: rate.
    """

    def __init__(self, parts: dict[str, nn.Module], *, layer_norm: nn.Module | None, dropout: float) -> None:
        super().__init__()
        self.parts = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.layer_norm = layer_norm
        self.dropout = Dropout(dropout)

    def forward(self, streams: Streams) -> Tensor:
        """Streams of ids [...] → [..., E]."""
        vectors = reduce(add, (getattr(self, name)(streams) for name in self.parts))
        if self.layer_norm is not None:
            vectors = self.layer_norm(vectors)
        return self.dropout(vectors)
