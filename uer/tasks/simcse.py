"""SimCSE (Gao, Yao and Chen 2021): vectors of texts, by contrast with the other texts of a batch.

A training file with a column `label` holds pairs of like meaning, `text_a` and `text_b`. Without one each
text is paired with itself, and dropout makes the two vectors differ. Evaluation: rank correlation of cosines
and labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.data.readers import read_header
from uer.errors import ConfigError
from uer.layers.rows import rows_of_all
from uer.metrics import Correlation
from uer.models.model import Inputs, Model
from uer.targets.term import Term, term
from uer.tasks.body import BodyModel, pooled, task_body
from uer.tasks.pairs import Pairs, PairTask
from uer.tasks.siamese import numbers_of
from uer.tasks.table import read_table


class SimcseModel(BodyModel):
    """A vector a text; there is no head.

    Args:
        body: embedding and encoder. pooling: first, last, mean or max.
        temperature: cosines are divided by this in the loss.
    """

    compares_rows = True
    """the loss of a row depends on the others of its batch, so a batch is not cut into pieces"""

    def __init__(self, body: Model, *, pooling: str, temperature: float = 0.05) -> None:
        super().__init__(body)
        self.pooling, self.temperature = pooling, temperature

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int, *, temperature: float = 0.05) -> SimcseModel:
        """The model of a configuration."""
        return cls(task_body(config, vocab_size), pooling=config.pooling, temperature=temperature)

    def vectors(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """fp32 [B, H] of the first and of the second texts."""
        sides = ({"src": inputs[f"src_{n}"], "seg": inputs[f"seg_{n}"]} for n in (0, 1))
        first, second = (pooled(self, self.pooling, side).float() for side in sides)
        return first, second

    def compared(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """[B, R]: cosine of first text i and second text j, of the rows of all workers, over the temperature;
        and [B]: which of them is the partner of i.
        """
        first, second = (F.normalize(x, dim=1) for x in self.vectors(inputs))
        second, start = rows_of_all(second)
        with torch.autocast(first.device.type, enabled=False):
            scores = first @ second.T / self.temperature
        return scores, start + torch.arange(len(first), device=first.device)

    def similarities(self, inputs: Inputs) -> Tensor:
        """The first of what `compared` gives."""
        return self.compared(inputs)[0]

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: str = "auto") -> dict[str, Term]:
        """The term "cls": each first text is to find its own second text among those of the batch."""
        return {"cls": term(*self.compared(inputs))}

    def predict(self, inputs: Inputs) -> Tensor:
        """Cosines of the pairs, [B, 1]."""
        return F.cosine_similarity(*self.vectors(inputs))[:, None]

    def stacked(self, inputs: Inputs) -> Tensor:
        """The vectors for a file, [B, 2, H]."""
        return torch.stack(self.vectors(inputs), dim=1)


class SimcseTask(PairTask):
    """What SimCSE reads, learns from, and scores; its settings are those of `PairTask`."""

    name = "simcse"

    def read(self, path: str | Path, *, training: bool = False) -> Pairs:
        """A file as pairs; in training the column `label` may be missing, and what it holds is not read.

        Raises:
            ConfigError: texts are to be learned from in windows.
            DataError: a fault of the file, or a label that is no finite number.
        """
        if training and self.overflow == "window":
            raise ConfigError(
                "--overflow window: the texts of a batch are each other's opposites here, and so would the "
                "windows of one text be; choose truncate, drop or error."
            )
        if training and "label" not in read_header(path, ("text_a",), ("label", "text_b")):
            table = read_table(path, ("text_a",))
            return self.labelled(table, {}, training)
        table = read_table(path, ("label", "text_a", "text_b"))
        return self.labelled(table, {} if training else {"cls": numbers_of(table)}, training)

    def metric(self, settled: bool = False) -> Correlation:
        """A fresh metric."""
        return Correlation("Spearman's correlation: {:.4f}")

    def score(self, metric: Correlation, outputs: np.ndarray, batch: Batch, examples: Pairs) -> None:
        """Feed cosines [B, 1] to a metric."""
        metric.update(outputs[:, 0], batch.labels["cls"])
