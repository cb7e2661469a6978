"""Sentence prediction: is the second text the next one (BERT), are the two in order (ALBERT)?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uer.layers.layout import Layout
from uer.layers.pooling import pool
from uer.targets.term import Run, Term, term


class SpHead(nn.Module):
    """linear_2(tanh(linear_1(x))) on the first token: [B, H] → logits [B, labels]."""

    def __init__(self, hidden_size: int, labels_num: int = 2) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(hidden_size, hidden_size)
        self.linear_2 = nn.Linear(hidden_size, labels_num)

    def logits(self, pooled: Tensor) -> Tensor:
        """[..., H] → [..., labels]"""
        return self.linear_2(torch.tanh(self.linear_1(pooled)))


class SpTarget(SpHead):
    """`labels["sp"]` [B]: 0 the true order, 1 a random or swapped one; StructBERT has three kinds."""

    name = "sp"
    token_labels = ()
    reads_few = True

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "sp"."""
        return {"sp": term(self.logits(pool("first", hidden, seg, layout)), labels["sp"])}
