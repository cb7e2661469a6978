"""Contrastive sequence prediction: which other row is the same text (ERNIE-Health, Wang et al. 2021)?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.dropout import Dropout
from uer.layers.layout import Layout
from uer.layers.norms import at_least_fp32
from uer.layers.pooling import pool
from uer.layers.rows import rows_of_all
from uer.targets.term import Run, Term, term

TEMPERATURE = 0.07


class CspTarget(nn.Module):
    """linear_2(gelu(linear_1(x))) of the first token; rows 2i and 2i + 1 are the same text, hidden and
    replaced at other places.

    The cosines with all other rows of the batch, those of all workers, divided by the temperature, are the
    logits of a choice in which the partner is right (Chen et al. 2020). There are no labels but the order of
    the rows.

    Args:
        size: width of the vectors that are compared.
    """

    name = "csp"
    token_labels = ()
    reads_few = True
    compares_rows = True

    def __init__(self, hidden_size: int, size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.linear_1 = nn.Linear(hidden_size, hidden_size)
        self.linear_2 = nn.Linear(hidden_size, size)

    def vectors(self, first: Tensor) -> Tensor:
        """[B, H] → [B, size]"""
        return self.linear_2(self.dropout(F.gelu(self.linear_1(self.dropout(first)))))

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] or [B, L, H] → the term "csp"."""
        vectors = at_least_fp32(self.vectors(pool("first", hidden, seg, layout)))
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = F.normalize(vectors, dim=1)
            rows, start = rows_of_all(vectors)
            cosines = vectors @ rows.T / TEMPERATURE
        own = start + torch.arange(len(vectors), device=vectors.device)
        return {"csp": term(cosines.scatter(1, own[:, None], -1e4), own ^ 1)}
