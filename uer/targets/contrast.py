"""Token-aware contrast (TaCL, Su et al. 2022): hidden tokens find themselves in a frozen reading."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.layout import Layout
from uer.layers.norms import at_least_fp32
from uer.targets.term import IGNORE, Run, Term, term

TEMPERATURE = 0.01


class ContrastTarget(nn.Module):
    """The student reads the text with hidden tokens, the teacher as it was. For each hidden token the cosines
    of the student's state there with all states of the teacher in the same sequence, divided by the
    temperature, are the logits of a choice in which its own place is right.

    Hidden are the tokens that `labels["mlm"]` asks for.
    """

    name = "contrast"
    token_labels = ("mlm",)

    @staticmethod
    def logits(student: Tensor, teacher: Tensor) -> Tensor:
        """States [S, T, H] of both → [S, T, T], student by teacher."""
        own, wanted = (F.normalize(at_least_fp32(x), dim=-1) for x in (student, teacher))
        with torch.autocast(own.device.type, enabled=False):
            return own @ wanted.transpose(1, 2) / TEMPERATURE

    def forward(
        self, hidden: Tensor, labels: dict[str, Tensor], *, seg: Tensor, layout: Layout | None, run: Run
    ) -> dict[str, Term]:
        """hidden [N, H] → the term "contrast"."""
        hides = labels["mlm"] != IGNORE
        text = torch.where(hides, labels["mlm"], run.streams["word"])
        wanted = run({"word": text}, partner="teacher").hidden
        logits = self.logits(layout.to_sequences(hidden), layout.to_sequences(wanted))
        logits = logits.masked_fill(~layout.real[:, None, :], torch.finfo(logits.dtype).min)
        place = torch.where(hides, layout.positions, IGNORE)
        chosen = layout.from_sequences(logits)[hides]
        return {"contrast": term(chosen, place[hides])}
