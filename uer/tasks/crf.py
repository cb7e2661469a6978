"""A linear-chain conditional random field over tags (Lafferty et al. 2001), under the names of pytorch-crf.

score(y) = start[y₁] + Σ emission[t, y_t] + Σ transition[y_t, y_t+1] + end[y_T];  p(y) = exp(score(y)) / Z

Shapes: S sequences, T words of the longest, C tags. Words stand at the front of each row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CRF(nn.Module):
    """Scores of tag sequences; transitions start from U(-0.1, 0.1)."""

    def __init__(self, tags_num: int) -> None:
        super().__init__()
        self.start_transitions = nn.Parameter(torch.empty(tags_num).uniform_(-0.1, 0.1))
        self.end_transitions = nn.Parameter(torch.empty(tags_num).uniform_(-0.1, 0.1))
        self.transitions = nn.Parameter(torch.empty(tags_num, tags_num).uniform_(-0.1, 0.1))

    def forward(self, emissions: Tensor, real: Tensor, tags: Tensor | None = None) -> Tensor:
        """`nll` of these tags, else the `best` ones: what engines that cut tensors put together for."""
        return self.best(emissions, real) if tags is None else self.nll(emissions, tags, real)

    def nll(self, emissions: Tensor, tags: Tensor, real: Tensor) -> Tensor:
        """-log p(tags), fp32 [S].

        Args:
            emissions: [S, T, C]. tags: int64 [S, T], anything at padding. real: bool [S, T].
        """
        emissions = emissions.float()
        return self._partition(emissions, real) - self._score(emissions, tags.masked_fill(~real, 0), real)

    def _score(self, emissions: Tensor, tags: Tensor, real: Tensor) -> Tensor:
        """The score of given sequences, [S]."""
        said = emissions.gather(2, tags[..., None]).squeeze(2)
        moves = self.transitions[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, real.sum(dim=1, keepdim=True) - 1).squeeze(1)
        inner = (said * real).sum(dim=1) + (moves * real[:, 1:]).sum(dim=1)
        return self.start_transitions[tags[:, 0]] + inner + self.end_transitions[last]

    def _partition(self, emissions: Tensor, real: Tensor) -> Tensor:
        """log Z, [S], by the forward algorithm."""
        alpha = self.start_transitions + emissions[:, 0]  # [S, C]
        for t in range(1, emissions.shape[1]):
            reached = torch.logsumexp(alpha[:, :, None] + self.transitions, dim=1) + emissions[:, t]
            alpha = torch.where(real[:, t, None], reached, alpha)
        return torch.logsumexp(alpha + self.end_transitions, dim=1)

    @torch.no_grad()
    def best(self, emissions: Tensor, real: Tensor) -> Tensor:
        """The likeliest tags, int64 [S, T] (0 at padding), by Viterbi's algorithm."""
        emissions = emissions.float()
        scores, history = self.start_transitions + emissions[:, 0], []
        stay = torch.arange(emissions.shape[2], device=emissions.device).expand_as(scores)
        for t in range(1, emissions.shape[1]):
            reached, source = (scores[:, :, None] + self.transitions).max(dim=1)
            goes_on = real[:, t, None]
            scores = torch.where(goes_on, reached + emissions[:, t], scores)
            history.append(torch.where(goes_on, source, stay))
        tag = (scores + self.end_transitions).argmax(dim=1)
        path = [tag]
        for source in reversed(history):
            tag = source.gather(1, tag[:, None]).squeeze(1)
            path.append(tag)
        return torch.stack(path[::-1], dim=1).masked_fill(~real, 0)
