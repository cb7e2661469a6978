"""Language model: the next token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uer.layers.layout import Layout
from uer.targets.term import IGNORE, Run, Term
from uer.targets.vocabulary import vocabulary_term


class LmHead(nn.Module):
    """output_layer(scale·x): [..., H] → logits [..., V]; T5 with tied weights scales by 1/√H."""

    def __init__(self, hidden_size: int, vocab_size: int, *, bias: bool, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.output_layer = nn.Linear(hidden_size, vocab_size, bias=bias)

    @property
    def output(self) -> nn.Module:
        """The layer that gives the logits of `features`."""
        return self.output_layer

    def features(self, hidden: Tensor) -> Tensor:
        """[..., H], what the output layer reads."""
        return hidden if self.scale == 1.0 else hidden * self.scale

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] → [..., V]"""
        return self.output_layer(self.features(hidden))


class LmTarget(LmHead):
    """Predicts the token after each position: `labels["lm"]` has the leading shape of hidden.

    Args:
        scale: multiplied into the hidden states.
        prefix_loss: count only labels that belong to the second text.
        label_smoothing: see `uer.targets.term.term`.
    """

    name = "lm"
    token_labels = ("lm",)

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        *,
        bias: bool,
        scale: float = 1.0,
        prefix_loss: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(hidden_size, vocab_size, bias=bias, scale=scale)
        self.prefix_loss, self.label_smoothing = prefix_loss, label_smoothing

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "lm"."""
        targets = labels["lm"]
        if self.prefix_loss:
            targets = targets.masked_fill(~predicts_second_text(seg, layout), IGNORE)
        term = vocabulary_term(
            self.features(hidden), self.output_layer, targets, label_smoothing=self.label_smoothing
        )
        return {"lm": term}


def predicts_second_text(seg: Tensor, layout: Layout | None) -> Tensor:
    """True where the next token of the sequence belongs to the second text, or this one does.

    UER asks for this position's own segment, and so never trains the first token of the second text.

    Args:
        seg: [N] with a layout, else [B, L].
    """
    second = seg == 2
    following = torch.zeros_like(second)
    following[..., :-1] = second[..., 1:]
    if layout is not None:
        following[layout.last] = False  # the token behind it belongs to another sequence
    return second | following
