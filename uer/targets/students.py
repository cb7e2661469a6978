"""Students that learn from a model while it learns itself, all from one pass of it (ERNIE 3.0, Wang et al.
2021: on-the-fly distillation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uer.layers.layout import Layout
from uer.layers.output import EncoderOutput
from uer.targets.term import Run, Term


@dataclass
class _Lesson:
    """What the targets of a student may ask for; see `uer.targets.term.Run`.

    Attributes:
        model: the student.
        first: its output.
        run: of the model that teaches.
        teacher: its output, without gradients.
    """

    model: nn.Module
    first: EncoderOutput
    run: Run
    teacher: EncoderOutput
    layout: Layout

    @property
    def streams(self) -> dict[str, Tensor]:
        """The id streams, as the teaching model read them."""
        return self.run.streams

    @property
    def mask(self) -> str:
        """What the student's attention may see."""
        return self.model.encoder.mask

    def __call__(
        self, streams: dict[str, Tensor], *, partner: str | None = None, all_layers: bool = False
    ) -> EncoderOutput:
        if partner is None:
            return self.model.read({**self.streams, **streams}, self.layout, all_layers=all_layers)
        with torch.no_grad():
            return self.run(streams, all_layers=all_layers)

    def head(self, name: str, *, partner: str | None = None) -> nn.Module:
        """The student's target of this name, or the teacher's."""
        return getattr(self.model.target, name) if partner is None else self.run.head(name)

    def scores(self, number: int, *, partner: str | None = None) -> Tensor:
        """Attention scores of a layer, the student's or the teacher's (without gradients)."""
        if partner is None:
            return self.model.encoder.scores(self.first.layers, number, self.layout)
        with torch.no_grad():
            return self.run.scores(number)

    def vectors(self, ids: Tensor) -> Tensor:
        """The student's word vectors of ids, [...] → [..., E]."""
        return self.model.embedding.word({"word": ids})


class StudentsTarget(nn.ModuleList):
    """Each student reads what the model reads, and has targets of its own, among them some that compare it
    with the model as it is at this step. The terms of student k are theirs with _k behind their names.

    Args:
        students: models with targets; the model that teaches gets no gradient from them.
    """

    name = "students"
    all_layers = True

    def __init__(self, students: Sequence[nn.Module]) -> None:
        super().__init__(students)

    @property
    def token_labels(self) -> tuple[str, ...]:
        """See `Targets.token_labels`."""
        return tuple(name for student in self for name in student.target.token_labels)

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] → the terms of all students."""
        teacher = EncoderOutput(hidden.detach(), [x.detach() for x in run.first.layers])
        terms: dict[str, Term] = {}
        for number, student in enumerate(self):
            first = student.read(run.streams, layout, all_layers=True)
            lesson = _Lesson(student, first, run, teacher, layout)
            for target in student.target.children():
                found = target(first.hidden, labels, seg=seg, layout=layout, run=lesson)
                terms.update({f"{name}_{number}": term for name, term in found.items()})
        return terms
