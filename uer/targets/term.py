"""One loss of one forward, as sums, so that windows and ranks can be joined before dividing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from uer.layers.layout import take_rows
from uer.layers.norms import at_least_fp32

IGNORE = -100
"""the label of a position where nothing is predicted"""

Run = Callable[[dict[str, Tensor]], Tensor]
"""streams that replace those of this forward → hidden states, in the same layout"""


class Term(NamedTuple):
    """A loss and its counts."""

    loss_sum: Tensor
    """scalar in fp32, summed over `count` predictions"""
    count: Tensor
    """int64 scalar, the number of predictions"""
    correct: Tensor
    """int64 scalar, of them right"""


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
