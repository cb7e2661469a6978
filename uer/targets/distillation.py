"""Learning from a teacher that reads the same tokens: its guesses, its states, its attention.

Shapes: N real tokens, S sequences of up to T tokens, A heads, H width of the student, K of the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.layout import Layout
from uer.layers.masks import later_keys, self_attention_mask
from uer.layers.norms import at_least_fp32
from uer.targets.term import Run, Term
from uer.targets.vocabulary import soft_vocabulary_term


def token_term(loss_sum: Tensor, tokens: Tensor) -> Term:
    """A loss that is summed over tokens [N, …], each of which is one prediction without right and wrong."""
    count = torch.full((), len(tokens), device=loss_sum.device)
    return Term(loss_sum, count, -count)


class SoftTarget(nn.Module):
    """τ²·KL(softmax(z_teacher/τ) ‖ softmax(z_student/τ)) over the vocabulary, of every real token (Hinton et
    al. 2015; Sanh et al. 2019).

    The logits are those of the heads for tokens of both. Right is a token at which both find the same entry
    likeliest.

    Args:
        head: the target whose head gives the logits, mlm or lm.
        temperature: τ.
    """

    name = "soft"
    token_labels = ()

    def __init__(self, head: str, temperature: float) -> None:
        super().__init__()
        self.head, self.temperature = head, temperature

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] → the term "soft"."""
        student, teacher = run.head(self.head), run.head(self.head, partner="teacher")
        with torch.no_grad():
            wanted = teacher.features(run.teacher.hidden)
        return {
            "soft": soft_vocabulary_term(
                student.features(hidden), student.output, wanted, teacher.output, temperature=self.temperature
            )
        }


class CosineTarget(nn.Module):
    """1 − cos(x_student, x_teacher) of the last states of every real token (Sanh et al. 2019)."""

    name = "cosine"
    token_labels = ()

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] → the term "cosine"."""
        cosines = F.cosine_similarity(at_least_fp32(hidden), at_least_fp32(run.teacher.hidden), dim=-1)
        return {"cosine": token_term((1 - cosines).sum(), hidden)}


class StatesTarget(nn.Module):
    """Mean squares of linear(x_student) − x_teacher, H → K, of the embedding and behind each layer, added up
    over them (Jiao et al. 2020). One linear serves all states; it is of no use later.

    Args:
        layers: for each layer of the student the teacher's, from 1 on, that it learns from; 0: none.
    """

    name = "states"
    token_labels = ()
    all_layers = True

    def __init__(self, hidden_size: int, teacher_size: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.linear = nn.Linear(hidden_size, teacher_size)

    def losses(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[Tensor]:
        """The squares of each pair of states [..., H], [..., K], averaged over K: [...] each."""
        pairs = [(0, 0), *((number, place) for number, place in enumerate(self.layers, 1) if place)]
        return [
            (at_least_fp32(self.linear(student[own])) - at_least_fp32(teacher[place])).square().mean(dim=-1)
            for own, place in pairs
        ]

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] → the term "states"."""
        losses = self.losses(run.first.layers, run.teacher.layers)
        return {"states": token_term(sum(loss.sum() for loss in losses), hidden)}


def visible(kind: str, seg: Tensor, layout: Layout) -> Tensor:
    """bool [S, 1, T, T]: real queries, and the keys that they may see.

    Args:
        kind: of the mask. seg: [N].
    """
    mask = self_attention_mask(kind, seg, layout=layout, dtype=torch.float32)
    seen = layout.real[:, None, :, None] & layout.real[:, None, None, :]
    if mask.additive is not None:
        seen = seen & (mask.additive > -1)
    if mask.causal:
        seen = seen & ~later_keys(seen.shape[-2], seen.shape[-1], seen.device)
    return seen


class ScoresTarget(nn.Module):
    """Mean squares of the difference of the attention scores before the softmax, over heads and the keys that
    a query sees, added up over the layers (Jiao et al. 2020). Every real token is one query.

    Args:
        layers: as of `StatesTarget`.
    """

    name = "scores"
    token_labels = ()
    all_layers = attention_only = True

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)

    @staticmethod
    def loss(student: Tensor, teacher: Tensor, seen: Tensor) -> Tensor:
        """Scores [S, A, T, T] of both → the sum over queries."""
        squares = (student - teacher).square().mean(dim=1, keepdim=True) * seen
        return (squares.sum(dim=-1) / seen.sum(dim=-1).clamp(min=1)).sum()

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] → the term "scores"."""
        seen = visible(run.mask, seg, layout)
        total = hidden.new_zeros((), dtype=torch.float32)
        for own, place in enumerate(self.layers):
            if place:
                wanted = run.scores(place - 1, partner="teacher")
                total = total + self.loss(run.scores(own), wanted, seen)
        return {"scores": token_term(total, hidden)}


class AttentionTarget(nn.Module):
    """KL(teacher ‖ student) of the attention of the last layers, averaged over heads; every real token is one
    query (Wang et al. 2020; ERNIE 3.0: Wang et al. 2021).
    """

    name = "attention"
    token_labels = ()
    all_layers = attention_only = True

    @staticmethod
    def loss(student: Tensor, teacher: Tensor, seen: Tensor) -> Tensor:
        """Scores [S, A, T, T] of both → the sum over queries."""
        floor = torch.finfo(student.dtype).min
        own, wanted = (scores.masked_fill(~seen, floor).log_softmax(dim=-1) for scores in (student, teacher))
        distance = (wanted.exp() * (wanted - own)).masked_fill(~seen, 0.0).sum(dim=-1)
        return distance.mean(dim=1).sum()

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] → the term "attention"."""
        own, wanted = run.scores(-1), run.scores(-1, partner="teacher")
        return {"attention": token_term(self.loss(own, wanted, visible(run.mask, seg, layout)), hidden)}
