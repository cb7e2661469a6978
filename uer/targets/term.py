"""One loss of one forward, as sums, so that windows and ranks can be joined before dividing."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.layout import take_rows
from uer.layers.norms import at_least_fp32
from uer.layers.output import EncoderOutput

IGNORE = -100
"""the label of a position where nothing is predicted"""


class Run(Protocol):
    """What a target may ask of the model that it belongs to, in one forward.

    Attributes:
        first: the output of the first pass, whose `hidden` the target was given; `layers` are there when a
            target of the model has the attribute `all_layers = True`.
        streams: what the model read, packed: "word", "seg", ….
        teacher: the teacher's output on the same streams, with layers likewise; computed once a forward.
        mask: what a position of the encoder may attend to.
    """

    first: EncoderOutput
    streams: dict[str, Tensor]
    teacher: EncoderOutput
    mask: str

    def __call__(
        self, streams: dict[str, Tensor], *, partner: str | None = None, all_layers: bool = False
    ) -> EncoderOutput:
        """A further pass, in the same layout.

        Args:
            streams: what replaces those of this forward ("word": token ids, …).
            partner: the model beside this one that reads them; a frozen one gives no gradients.
        """

    def head(self, name: str, *, partner: str | None = None) -> nn.Module:
        """The target `name` of the model, or of one beside it."""

    def scores(self, number: int, *, partner: str | None = None) -> Tensor:
        """[S, A, T, T] attention scores of layer `number` of the first pass, or of the teacher, before
        masking."""

    def vectors(self, ids: Tensor) -> Tensor:
        """The word vectors of token ids: [...] → [..., E]."""


class Term(NamedTuple):
    """A loss and its counts."""

    loss_sum: Tensor
    """scalar in fp32, summed over `count` predictions"""
    count: Tensor
    """int64 scalar, the number of predictions"""
    correct: Tensor
    """int64 scalar, of them right; below 0 where there is no right and wrong"""
    weight: float = 1.0
    """what its mean counts in the sum of all losses"""


def labelled(hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden states [M, H] of labelled positions, and their labels [M]; only they need logits.

    Args:
        hidden: [..., H]. labels: [...], -100 where nothing is predicted.
    """
    labels = labels.flatten()
    index = (labels != IGNORE).nonzero().squeeze(1)
    hidden = hidden.flatten(0, -2)
    if index.numel() == labels.numel():
        return hidden, labels
    return take_rows(hidden, index), labels.index_select(0, index)


def term(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Term:
    """Cross-entropy in fp32 of logits [M, V] against labels [M] (-100: not counted).

    With label smoothing s the loss is (1 − s − ε)·nll + ε·Σ(−log p), ε = s/(V − 1): the label keeps 1 − s and
    the other V − 1 classes share s.
    """
    logits = at_least_fp32(logits)
    if label_smoothing:
        share = label_smoothing / (logits.shape[-1] - 1)
        log_p = F.log_softmax(logits, dim=-1)
        nll = F.nll_loss(log_p, labels, ignore_index=IGNORE, reduction="sum")
        every = -log_p[labels != IGNORE].sum()
        loss = (1 - label_smoothing - share) * nll + share * every
    else:
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    with torch.no_grad():
        counted = labels != IGNORE
        own = logits.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
        # A tie for the highest logit counts as right; finding the first of them would cost as much as the
        # loss.
        correct = (own >= logits.amax(dim=-1)) & counted
        return Term(loss, counted.sum(), correct.sum())
