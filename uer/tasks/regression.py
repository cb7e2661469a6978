"""A number for a text or a pair: `label text_a [text_b]`. The model is the classifier's with one output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.metrics import Correlation
from uer.models.model import Inputs
from uer.targets.term import Term
from uer.tasks.body import LayoutChoice, PooledModel, task_body
from uer.tasks.classifier import finite
from uer.tasks.rows import Examples
from uer.tasks.table import read_table
from uer.tasks.text import TextTask


class RegressionModel(PooledModel):
    """logits [B, 1] are the predicted numbers."""

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int) -> RegressionModel:
        """The model of a configuration."""
        return cls(task_body(config, vocab_size), 1, pooling=config.pooling)

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "cls": squared error against `labels["cls"]` [B]; nothing is counted as right."""
        predicted, gold = self.logits(inputs, layout=layout)[:, 0], labels["cls"]
        count = torch.full((), len(gold), device=gold.device)
        return {"cls": Term(F.mse_loss(predicted, gold, reduction="sum"), count, torch.zeros_like(count))}


class RegressionTask(TextTask):
    """What a regression reads, learns from, and scores; its settings are those of `TextTask`."""

    name = "regression"

    def read(self, path: str | Path, *, training: bool = False) -> Examples:
        """A labelled file as examples.

        Raises:
            DataError: a fault of the file, or a label that is no finite number.
        """
        table = read_table(path, ("label", "text_a"), ("text_b",))
        gold = [finite(text, "label", path, line) for text, line in zip(table.column("label"), table.lines)]
        return self.labelled(table, {"cls": np.array(gold, np.float32)}, training)

    def metric(self, settled: bool = False) -> Correlation:
        """A fresh metric."""
        return Correlation()

    def score(self, metric: Correlation, outputs: np.ndarray, batch: Batch, examples: Examples) -> None:
        """Feed predicted numbers [B, 1] to a metric."""
        metric.update(outputs[:, 0], batch.labels["cls"])
