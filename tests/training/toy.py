"""A small model with two terms, its data and a run of it: what the tests of the loop train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.config.training import OptimizerOptions, TrainOptions
from uer.data.batch import IGNORE, Batch
from uer.data.random import generator
from uer.targets.term import Term
from uer.training.loop import fit
from uer.training.optimizers import build_optimizer, named_state
from uer.training.precision import Precision
from uer.training.report import pretraining_line
from uer.training.runlog import RunLog
from uer.training.schedulers import build_schedule
from uer.training.windows import Windows

VOCAB, LENGTH = 30, 6


def rows(numbers: np.ndarray, seed: int = 3) -> Batch:
    """Instances by number: a third of the tokens is predicted, and one thing about the row."""
    src, labels, sp = [], [], []
    for number in numbers:
        draw = generator(seed, int(number))
        ids = draw.integers(1, VOCAB, LENGTH)
        src.append(ids)
        labels.append(np.where(draw.random(LENGTH) < 0.35, (ids * 7 + 1) % VOCAB, IGNORE))
        sp.append(ids.sum() % 2)
    inputs = {"src": np.array(src), "seg": np.ones((len(src), LENGTH), int)}
    return Batch.counted(inputs, {"mlm": np.array(labels), "sp": np.array(sp)}, np.asarray(numbers))


def batches(size: int, of: int = 1_000_000):
    """`get_batch` over consecutive instances."""
    return lambda step: rows(np.arange(step * size, (step + 1) * size) % of)


class Toy(nn.Module):
    """Embedding, dropout, linear; terms in the model's own precision."""

    def __init__(self, dropout: float = 0.0, dtype: torch.dtype = torch.float32, seed: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(VOCAB, 8, dtype=dtype)
            self.dropout = nn.Dropout(dropout)
            self.inner = nn.Linear(8, 8, dtype=dtype)
            self.mlm = nn.Linear(8, VOCAB, dtype=dtype)
            self.sp = nn.Linear(8, 2, dtype=dtype)

    @staticmethod
    def _term(logits: Tensor, labels: Tensor) -> Term:
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        return Term(loss, (labels != IGNORE).sum(), (logits.argmax(-1) == labels).sum())

    def forward(self, inputs: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, Term]:
        hidden = torch.tanh(self.inner(self.dropout(self.embedding(inputs["src"]))))
        return {
            "mlm": self._term(self.mlm(hidden).flatten(0, 1), labels["mlm"].flatten()),
            "sp": self._term(self.sp(hidden.mean(1)), labels["sp"]),
        }


def train(
    model: nn.Module,
    get_batch: Any,
    total: int,
    *,
    size: int = 1,
    optim: OptimizerOptions | None = None,
    options: TrainOptions | None = None,
    folder: Path | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    precision: Precision | None = None,
    **more: Any,
) -> torch.optim.Optimizer:
    """One run of the real loop."""
    optim = optim or OptimizerOptions(learning_rate=0.02, weight_decay=0.1)
    options = options or TrainOptions(report_steps=1000)
    windows = Windows(total, size, more.pop("period", None))
    optimizer = optimizer or build_optimizer(model, optim)
    fit(
        model,
        get_batch,
        options,
        optimizer=optimizer,
        schedule=build_schedule(optim, windows.updates),
        windows=windows,
        precision=precision or Precision("fp32"),
        log=RunLog(pretraining_line, total=total, folder=folder, start=more.get("start", 0)),
        max_grad_norm=optim.max_grad_norm,
        **more,
    )
    return optimizer


def states(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Copies of all weights and of the optimiser's state."""
    return {k: v.clone() for k, v in (model.state_dict() | named_state(optimizer)).items()}
