"""Masked language model."""

from __future__ import annotations

import torch
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

    @property
    def output(self) -> nn.Module:
        """The layer that gives the logits of `features`."""
        return self.linear_2

    def features(self, hidden: Tensor) -> Tensor:
        """[..., H] → [..., inner], what the output layer reads."""
        features = self.layer_norm(self.act(self.linear_1(hidden)))
        return features if self.projection is None else self.projection(features)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] → [..., V]"""
        return self.linear_2(self.features(hidden))


class MlmTarget(MlmHead):
    """Predicts the tokens at masked positions: `labels["mlm"]` has the leading shape of hidden.

    `labels["mlm_order"]`, where there are any, are tokens that stand in another's place (StructBERT); the
    same head finds them.
    """

    name = "mlm"
    token_labels = ("mlm", "mlm_order")
    reads_few = True

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "mlm", and "mlm_order"."""
        terms = {}
        for name in self.token_labels:
            if name in labels:
                chosen, chosen_labels = labelled(hidden, labels[name])
                terms[name] = vocabulary_term(self.features(chosen), self.linear_2, chosen_labels)
        return terms

    def guess(self, hidden: Tensor, labels: Tensor, *, others: int = 0) -> tuple[Term, Tensor]:
        """The term of the masked positions, and tokens drawn for them (see `draw`): int64 [M, 1 + others]."""
        found: list[Tensor] = []
        chosen, chosen_labels = labelled(hidden, labels)
        term = vocabulary_term(
            self.features(chosen),
            self.linear_2,
            chosen_labels,
            look=lambda logits, right: found.append(draw(logits, right, others)),
        )
        return term, torch.cat([chosen_labels.new_zeros(0, 1 + others), *found])


def draw(logits: Tensor, right: Tensor, others: int) -> Tensor:
    """A token from the distribution of each row, then so many different ones that are not the right one.

    By Gumbel noise: the highest of logit + noise is a draw from the softmax (Gumbel 1954), the highest few
    are draws without putting back (Kool et al. 2019). The noise is that of the released ELECTRA.

    Args:
        logits: [m, V]. right: [m], token ids.

    Returns:
        int64 [m, 1 + others]
    """
    first = (logits + gumbel(logits)).argmax(dim=1, keepdim=True)
    if not others:
        return first
    wrong = (logits + gumbel(logits)).scatter_(1, right[:, None], float("-inf"))
    return torch.cat([first, wrong.topk(others, dim=1).indices], dim=1)


def gumbel(like: Tensor) -> Tensor:
    """Gumbel noise of the shape and kind of a tensor, from torch's generator."""
    return torch.rand_like(like).add_(1e-9).log_().neg_().add_(1e-9).log_().neg_()
