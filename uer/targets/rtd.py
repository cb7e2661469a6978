"""Replaced-token detection: is this the token of the text (Clark et al. 2020)?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.activations import activation
from uer.layers.layout import Layout
from uer.layers.norms import at_least_fp32
from uer.targets.term import Run, Term, labelled


class RtdHead(nn.Module):
    """linear_2(act(linear_1(x))): [..., H] → one logit each, [...]."""

    def __init__(self, hidden_size: int, *, hidden_act: str) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(hidden_size, hidden_size)
        self.act = activation(hidden_act)
        self.linear_2 = nn.Linear(hidden_size, 1)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] → [...]"""
        return self.linear_2(self.act(self.linear_1(hidden))).squeeze(-1)


class RtdTarget(RtdHead):
    """`labels["rtd"]` of the leading shape of hidden, made by the generator: 1 for another token, 0 for the
    text's own, -100 for neither.
    """

    name = "rtd"
    token_labels = ()
    weight = 50.0

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "rtd"."""
        chosen, replaced = labelled(hidden, labels["rtd"])
        logits = at_least_fp32(self.logits(chosen))
        loss = F.binary_cross_entropy_with_logits(logits, replaced.to(logits.dtype), reduction="sum")
        right = (logits > 0) == replaced.bool()
        return {"rtd": Term(loss, torch.full((), replaced.numel(), device=loss.device), right.sum())}
