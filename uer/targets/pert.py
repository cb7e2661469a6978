"""Permuted language model: where in the row does the token stand that belongs here (Cui et al. 2022)?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uer.layers.activations import activation
from uer.layers.layout import Layout, take_rows
from uer.targets.term import IGNORE, Run, Term, term


class PertTarget(nn.Module):
    """norm(act(linear_1(x))) · state of each place of the row + bias of the place: a choice among the places.

    `labels["pert"]` has the leading shape of hidden: the place (from 0) where the token that belongs here
    stands now.

    Args:
        places: the longest row.
        layer_norm: over H.
    """

    name = "pert"
    token_labels = ("pert",)

    def __init__(self, hidden_size: int, places: int, *, hidden_act: str, layer_norm: nn.Module) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(hidden_size, hidden_size)
        self.act = activation(hidden_act)
        self.layer_norm = layer_norm
        self.bias = nn.Parameter(torch.zeros(places))

    def features(self, hidden: Tensor) -> Tensor:
        """[..., H] → [..., H], what is compared with the states."""
        return self.layer_norm(self.act(self.linear_1(hidden)))

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "pert"."""
        places = labels["pert"]
        if layout is None:
            layout = Layout.from_seg(seg)
            hidden, places = layout.pack(hidden), layout.pack(places)
        index = (places != IGNORE).nonzero().squeeze(1)
        logits = self._logits(take_rows(hidden, index), hidden, index, layout)
        return {"pert": term(logits, places.index_select(0, index))}

    def _logits(self, chosen: Tensor, hidden: Tensor, index: Tensor, layout: Layout) -> Tensor:
        """[M, T] for the M places `index` of the packed order, -inf behind the end of a row.

        Each row's questions meet its own states in one product, so no state is copied a question.
        """
        row = layout.slots[index] // layout.max_length
        counts = torch.bincount(row, minlength=layout.sequences)
        most = max(1, int(counts.max()))
        slot = row * most + torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
        asked = self.features(chosen)
        grid = asked.new_zeros(layout.sequences * most, asked.shape[-1]).index_copy(0, slot, asked)
        states = layout.to_sequences(hidden)
        scores = grid.unflatten(0, (layout.sequences, most)) @ states.transpose(1, 2)  # [S, most, T]
        scores = scores.flatten(0, 1).index_select(0, slot) + self.bias[: layout.max_length]
        return scores.masked_fill(~layout.real[row], float("-inf"))
