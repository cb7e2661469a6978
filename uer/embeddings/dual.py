"""Two complete embeddings for the two streams of a dual model (sentence-BERT, siamese networks)."""

from __future__ import annotations

from torch import Tensor, nn

from uer.embeddings.embedding import Embedding
from uer.embeddings.parts import Streams


class DualEmbedding(nn.Module):
    """Stream i has `embedding_i`; the two may be one module.

    Args:
        norms: a second norm for each stream, `stream_i_layer_norm`. UER-py 2024 has it by oversight (and a
            second
            dropout, which is left out here); it is built only for files that hold it.
    """

    def __init__(
        self,
        embedding_0: Embedding,
        embedding_1: Embedding,
        *,
        norms: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.embedding_0, self.embedding_1 = embedding_0, embedding_1
        self.stream_0_layer_norm, self.stream_1_layer_norm = norms or (None, None)

    def forward(self, number: int, streams: Streams) -> Tensor:
        """The streams [...] of text `number` (0 or 1) → [..., E]."""
        vectors = self.stream(number)(streams)
        norm = self.stream_1_layer_norm if number else self.stream_0_layer_norm
        return vectors if norm is None else norm(vectors)

    def alone(self, number: int) -> nn.Module:
        """What makes the vectors of text `number` by itself: streams [...] → [..., E]."""
        norm = self.stream_1_layer_norm if number else self.stream_0_layer_norm
        return self.stream(number) if norm is None else nn.Sequential(self.stream(number), norm)

    def stream(self, number: int) -> Embedding:
        """The embedding of text `number`."""
        return self.embedding_1 if number else self.embedding_0
