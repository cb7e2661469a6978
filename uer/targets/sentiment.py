"""SKEP's questions beside hidden words: the polarity of sentiment words, pairs (Tian et al. 2020)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.layout import Layout
from uer.layers.norms import at_least_fp32
from uer.layers.pooling import pool
from uer.targets.term import IGNORE, Run, Term, labelled, term


class PolarityTarget(nn.Module):
    """linear(x) at the hidden tokens of sentiment words against `labels["polarity"]`: 1 positive, 0 not."""

    name = "polarity"
    token_labels = ("polarity",)

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, 2)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., H] → [..., 2]"""
        return self.linear(hidden)

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "polarity"."""
        chosen, chosen_labels = labelled(hidden, labels["polarity"])
        return {"polarity": term(self.logits(chosen), chosen_labels)}


class PairTarget(nn.Module):
    """Which tokens a hidden pair of aspect and opinion consists of, from the first token of the sequence: for
    each entry of the vocabulary the probability sigmoid(linear(x) − log V) that it belongs to the pair.

    The loss of a pair is the sum of the binary cross-entropies of all V entries. (The paper prints only the
    summand of the pair's own tokens, which a bias alone would bring to nothing.) The constant lets a fresh
    layer begin at about one token in V, and is the bias under another name.

    `labels["pair"]` [B, P, K] has the ids of the tokens of each pair, -100 where there is none.
    """

    name = "pair"
    token_labels = ()

    def __init__(self, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, vocab_size)

    def logits(self, pooled: Tensor) -> Tensor:
        """[..., H] → [..., V]"""
        return self.linear(pooled) - math.log(self.linear.out_features)

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "pair": right are pairs all of whose tokens are likely."""
        pairs = labels["pair"]
        given = pairs != IGNORE
        row, number = given.any(dim=-1).nonzero(as_tuple=True)
        ids, there = pairs[row, number].clamp(min=0), given[row, number]
        logits = at_least_fp32(self.logits(pool("first", hidden, seg, layout)[row]))
        own = logits.gather(1, ids) if ids.shape[1] else logits[:, :0]
        # A token that stands in a pair twice belongs to it once.
        again = (ids[:, :, None] == ids[:, None, :]) & there[:, None, :]
        once = there & ~again.tril(-1).any(dim=-1)
        loss = F.softplus(logits).sum() - own.masked_fill(~once, 0.0).sum()
        with torch.no_grad():
            correct = ((own > 0) | ~there).all(dim=-1).sum()
            return {"pair": Term(loss, torch.full((), len(row), device=logits.device), correct)}
