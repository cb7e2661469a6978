"""Two language models, one a direction (ELMo, Peters et al. 2018)."""

from __future__ import annotations

from torch import Tensor

from uer.layers.layout import Layout
from uer.targets.lm import LmHead
from uer.targets.term import Run, Term
from uer.targets.vocabulary import vocabulary_term


class BilmTarget(LmHead):
    """Half of hidden predicts the next token, the other half the one before, through one output layer.

    `labels["bilm_forward"]` and `labels["bilm_backward"]` have the leading shape of hidden.

    Args:
        hidden_size: H, of both directions together.
    """

    name = "bilm"
    token_labels = ("bilm_forward", "bilm_backward")

    def __init__(self, hidden_size: int, vocab_size: int, *, bias: bool = False) -> None:
        super().__init__(hidden_size // 2, vocab_size, bias=bias)

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the terms "bilm_forward" and "bilm_backward"."""
        terms = {}
        for name, half in zip(self.token_labels, hidden.chunk(2, dim=-1)):
            terms[name] = vocabulary_term(half, self.output_layer, labels[name])
        return terms
