"""Multi-token selection: which of some tokens stood here (ERNIE-Health, Wang et al. 2021)?"""

from __future__ import annotations

from torch import Tensor, nn

from uer.layers.activations import activation
from uer.layers.layout import Layout
from uer.targets.term import IGNORE, Run, Term, labelled, term


class MtsHead(nn.Module):
    """act(linear(x)) · word vector + bias of each candidate.

    Args:
        emb_size: E, width of the word vectors.
    """

    def __init__(self, hidden_size: int, emb_size: int, vocab_size: int, *, hidden_act: str) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, emb_size)
        self.act = activation(hidden_act)
        self.bias = nn.Embedding(vocab_size, 1)

    def logits(self, hidden: Tensor, candidates: Tensor, vectors: Tensor) -> Tensor:
        """hidden [..., H], candidates [..., C] and their word vectors [..., C, E] → [..., C]"""
        scores = (vectors @ self.act(self.linear(hidden)).unsqueeze(-1)).squeeze(-1)
        return scores + self.bias(candidates).squeeze(-1)


class MtsTarget(MtsHead):
    """The right one of `labels["candidates"]` [M, C] is the first; they belong to the M positions where
    `labels["mts"]` is not -100, the replaced ones.

    How many are replaced shows only in the forward pass, so the mean over the replaced tokens of a batch
    counts as often as the batch has hidden ones (`labels["mlm"]`), which is known before.
    """

    name = "mts"
    token_labels = ()
    weight = 20.0

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "mts"."""
        chosen, right = labelled(hidden, labels["mts"])
        candidates = labels["candidates"]
        logits = self.logits(chosen, candidates, run.vectors(candidates))
        found = term(logits, right.new_zeros(right.shape))
        hidden_ones = (labels["mlm"] != IGNORE).sum()
        share = hidden_ones / found.count.clamp(min=1)
        correct = (found.correct * share).round().long()
        return {"mts": Term(found.loss_sum * share, hidden_ones, correct)}
