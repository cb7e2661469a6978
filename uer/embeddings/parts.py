"""The parts that an embedding sums: each takes the streams it needs and gives [..., E]."""

from __future__ import annotations

import math

from torch import Tensor, nn

from uer.layers.positions import sinusoids_2021, sinusoids_2024, sinusoids_pegasus

Streams = dict[str, Tensor]
"""Id streams of equal shape: "word" token ids, "pos" positions, "seg" segment ids, and what a part adds."""


class WordEmbedding(nn.Module):
    """A vector a token, [V, E]; `scaled` multiplies it by √E, which goes with sinusoidal positions.

    Args:
        widened: H, of vectors that a matrix without bias brings from E to H (albert_zh). It is kept as
            [E, H], as the weight of the linear H → E that an output layer over the same table begins with.
    """

    def __init__(
        self, vocab_size: int, emb_size: int, *, scaled: bool = False, widened: int | None = None
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, emb_size)
        self.factor = math.sqrt(emb_size) if scaled else None
        self.projection = None if widened is None else nn.Linear(widened, emb_size, bias=False)

    def forward(self, streams: Streams) -> Tensor:
        """The stream "word" [...] → [..., E], or [..., H] where the vectors are widened."""
        vectors = self.embedding(streams["word"])
        if self.projection is not None:
            vectors = vectors @ self.projection.weight
        return vectors if self.factor is None else vectors * self.factor


class PosEmbedding(nn.Module):
    """A learned vector a position, [max_seq_length, E]."""

    def __init__(self, max_seq_length: int, emb_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_seq_length, emb_size)

    def forward(self, streams: Streams) -> Tensor:
        """The stream "pos" [...] → [..., E]."""
        return self.embedding(streams["pos"])


class SegEmbedding(nn.Module):
    """A vector a segment, [3, E]: row 0 belongs to padding, 1 and 2 to the first and second text."""

    def __init__(self, emb_size: int, rows: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, emb_size)

    def forward(self, streams: Streams) -> Tensor:
        """The stream "seg" [...] → [..., E]."""
        return self.embedding(streams["seg"])


class TaskEmbedding(nn.Module):
    """A vector a task, [rows, E], of the stream "task"; without it every token has task 0 (ERNIE 3.0,
    Sun et al. 2021).
    """

    def __init__(self, emb_size: int, rows: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, emb_size)

    def forward(self, streams: Streams) -> Tensor:
        """The stream "task" [...] → [..., E]; without that stream [E], which is added to every token."""
        return self.embedding(streams["task"]) if "task" in streams else self.embedding.weight[0]


class SinusoidalPosEmbedding(nn.Module):
    """Fixed sines and cosines of the position; nothing is stored in checkpoints.

    2021 and pegasus: position p takes row p of their table. 2024: row p + 2 of `sinusoids_2024`, as fairseq,
    whose first rows belonged to special symbols. UER-py 2024 counts positions by summing segment ids, so a
    second text reads beyond its table; here the position is the position.
    """

    def __init__(self, max_seq_length: int, emb_size: int, *, sinusoid: str) -> None:
        super().__init__()
        if sinusoid == "2024":
            table = sinusoids_2024(max_seq_length + 2, emb_size)[2:]
        else:
            make = sinusoids_pegasus if sinusoid == "pegasus" else sinusoids_2021
            table = make(max_seq_length, emb_size)
        self.register_buffer("table", table, persistent=False)

    def forward(self, streams: Streams) -> Tensor:
        """The stream "pos" [...] → [..., E]."""
        return self.table.index_select(0, streams["pos"].flatten()).unflatten(0, streams["pos"].shape)


def positions_limit(parts: nn.Module) -> int | None:
    """The number of positions an embedding has vectors for; None when it has no table of positions."""
    limits = [
        part.embedding.num_embeddings if isinstance(part, PosEmbedding) else part.table.shape[0]
        for part in parts.modules()
        if isinstance(part, (PosEmbedding, SinusoidalPosEmbedding))
    ]
    return min(limits, default=None)
