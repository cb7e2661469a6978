"""Several labels a row: `label text_a [text_b]`, the labels of a row with commas between them.

The model is the classifier's; each label is decided by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.data.readers import read_tsv
from uer.errors import DataError
from uer.metrics import SetMatch
from uer.models.model import Inputs
from uer.targets.term import Term
from uer.tasks.body import LayoutChoice, PooledModel, task_body
from uer.tasks.classifier import numbers
from uer.tasks.labels import LabelMap
from uer.tasks.rows import Examples
from uer.tasks.table import read_table
from uer.tasks.text import TextTask

TRIED = tuple(number / 100 for number in range(5, 100, 5))
"""thresholds to choose from"""


class MultiLabelModel(PooledModel):
    """A classifier whose labels do not exclude each other."""

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int) -> MultiLabelModel:
        """The model of a configuration whose `labels_num` is set."""
        return cls(task_body(config, vocab_size), config.labels_num, pooling=config.pooling)

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "cls": binary cross-entropy against `labels["cls"]` [B, C] of 0 and 1, mean over C."""
        logits, gold = self.logits(inputs, layout=layout), labels["cls"]
        loss = F.binary_cross_entropy_with_logits(logits, gold, reduction="none").mean(dim=1).sum()
        correct = ((logits.detach() > 0) == (gold > 0)).all(dim=1).sum()
        return {"cls": Term(loss, torch.full((), len(gold), device=gold.device), correct)}


class MultiLabelTask(TextTask):
    """What a multi-label classifier reads, learns from, and scores.

    Args:
        labels: the labels of the training file.
        threshold: a label is predicted where its probability is greater.
        choose_by: choose the threshold on the development file by this score; None: keep it.
        settings: of `TextTask`.
    """

    name = "multi_label"

    def __init__(
        self,
        tokenizer: Any,
        labels: LabelMap,
        *,
        threshold: float = 0.5,
        choose_by: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(tokenizer, **settings)
        self.labels, self.threshold, self.choose_by = labels, threshold, choose_by
        self._tried: SetMatch | None = None

    def read(self, path: str | Path, *, training: bool = False) -> Examples:
        """A labelled file as examples.

        Raises:
            DataError: a fault of the file, or an unknown label.
        """
        table = read_table(path, ("label", "text_a"), ("text_b",))
        gold = np.zeros((len(table), len(self.labels)), np.float32)
        for row, (text, line) in enumerate(zip(table.column("label"), table.lines)):
            for part in parts(text, path, line):
                gold[row, self.labels.id_of(part, path, line)] = 1
        return self.labelled(table, {"cls": gold}, training)

    def metric(self, settled: bool = False) -> SetMatch:
        """A fresh metric, which chooses the threshold unless that is settled."""
        if self.choose_by is None or settled:
            return SetMatch(self.labels.names, (self.threshold,))
        self._tried = SetMatch(self.labels.names, TRIED, self.choose_by)
        return self._tried

    def score(self, metric: SetMatch, outputs: np.ndarray, batch: Batch, examples: Examples) -> None:
        """Feed logits [B, C] of a batch to a metric."""
        metric.update(probabilities(outputs), batch.labels["cls"])

    def saved(self) -> dict[str, Any]:
        """See `TextTask.saved`; the threshold is that of the evaluation before."""
        if self._tried is not None:
            self.threshold = self._tried.threshold
        return super().saved(self.labels.names, threshold=self.threshold)

    def columns(self, logits: np.ndarray, with_logits: bool, with_prob: bool) -> dict[str, list[str]]:
        """UER's output columns of logits [n, C]; the label cell is empty where no label is predicted."""
        chances, names = probabilities(logits), np.array(self.labels.names, dtype=object)
        columns = {"label": [",".join(names[row > self.threshold]) for row in chances]}
        if with_logits:
            columns["logits"] = numbers(logits)
        if with_prob:
            columns["prob"] = numbers(chances)
        return columns


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The probability of each label by itself."""
    return torch.from_numpy(logits).sigmoid().numpy()


def parts(text: str, path: str | Path, line: int) -> list[str]:
    """The labels in a cell; none in an empty one.

    Raises:
        DataError: a comma has no label on one of its sides.
    """
    found = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(found):
        raise DataError(
            f"'{text[:60]}' has a comma without a label beside it; write labels with one comma between two "
            "of them, and none for a row without labels.",
            path=path,
            line=line,
        )
    return found


def read_label_sets(path: str | Path, labels_num: int | None = None) -> LabelMap:
    """The labels of a training file; see `LabelMap.collect`.

    Raises:
        DataError: also when no row has a label.
    """
    rows = [(line, parts(row["label"], path, line)) for line, row in read_tsv(path, ("label", "text_a"))]
    values = [(line, part) for line, found in rows for part in found]
    if rows and not values:
        raise DataError("no row has a label, so there is nothing to learn.", path=path)
    return LabelMap.collect(values, path, labels_num, least=1)
