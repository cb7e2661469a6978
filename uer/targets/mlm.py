"""Masked language model."""

from __future__ import annotations

from torch import Tensor, nn

from uer.layers.activations import activation
from uer.layers.layout import Layout
from uer.targets.term import Run, Term, labelled
from uer.targets.vocabulary import vocabulary_term


class MlmHead(nn.Module):
    """linear_2(norm(act(linear_1(x)))): [..., H] → logits [..., V] (Devlin et al. 2019).

    Args:
        inner_size: width between the two linears: H, or E when the embedding is factorised.
        layer_norm: over `inner_size`.
        narrowed: E, when a linear without bias stands between norm and output layer (albert_zh).
    """

    def __init__(
        self,
        hidden_size: int,
        inner_size: int,
        vocab_size: int,
        *,
        hidden_act: str,
        layer_norm: nn.Module,
        narrowed: int | None = None,
    ) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(hidden_size, inner_size)
        self.act = activation(hidden_act)
        self.layer_norm = layer_norm
        self.projection = None if narrowed is None else nn.Linear(inner_size, narrowed, bias=False)
        self.linear_2 = nn.Linear(narrowed or inner_size, vocab_size)

    def features(self, hidden: Tensor) -> Tensor:
        """[..., H] → [..., inner], what the output layer reads."""
        features = self.layer_norm(self.act(self.linear_1(hidden)))
        return features if self.projection is None else self.projection(features)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] → [..., V]"""
        return self.linear_2(self.features(hidden))


class MlmTarget(MlmHead):
    """Predicts the tokens at masked positions: `labels["mlm"]` has the leading shape of hidden."""

    name = "mlm"
    token_labels = ("mlm",)

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "mlm"."""
        chosen, chosen_labels = labelled(hidden, labels["mlm"])
        return {"mlm": vocabulary_term(self.features(chosen), self.linear_2, chosen_labels)}
