"""Classification of whole sequences."""

from __future__ import annotations

from torch import Tensor

from uer.layers.layout import Layout
from uer.layers.pooling import pool
from uer.targets.sp import SpHead
from uer.targets.term import Run, Term, term


class ClsTarget(SpHead):
    """linear_2(tanh(linear_1(pooled))) against `labels["cls"]` [B].

    Args:
        pooling: first, last, mean or max (`uer.layers.pooling`).
    """

    name = "cls"
    token_labels = ()

    def __init__(self, hidden_size: int, labels_num: int, *, pooling: str) -> None:
        super().__init__(hidden_size, labels_num)
        self.pooling = pooling

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "cls"."""
        return {"cls": term(self.logits(pool(self.pooling, hidden, seg, layout)), labels["cls"])}
