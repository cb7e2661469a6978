"""Classification of a text or a pair: `label text_a [text_b] [logits]`.

The model is UER-py's: embedding and encoder, pooling, `output_layer_1` and tanh, `output_layer_2`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uer.checkpoints import canonical, read_state
from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.data.readers import read_tsv
from uer.errors import CheckpointError, DataError
from uer.metrics import Classification
from uer.models.model import Inputs, Model
from uer.targets.term import Term
from uer.tasks.body import LayoutChoice, PooledModel, task_body
from uer.tasks.labels import LabelMap
from uer.tasks.rows import Examples
from uer.tasks.setup import check_task
from uer.tasks.table import Table, read_table
from uer.tasks.text import TextTask

if TYPE_CHECKING:
    from uer.checkpoints.companion import Companion


class ClassifierModel(PooledModel):
    """A classifier of whole rows.

    Args:
        labels_num: C.
        soft_alpha: share of the teacher's logits in the loss; only used when a batch brings them.
    """

    def __init__(self, body: Model, *, labels_num: int, pooling: str, soft_alpha: float = 0.5) -> None:
        super().__init__(body, labels_num, pooling=pooling)
        self.soft_alpha = soft_alpha

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int, *, soft_alpha: float = 0.5) -> ClassifierModel:
        """The model of a configuration whose `labels_num` is set."""
        body = task_body(config, vocab_size)
        return cls(body, labels_num=config.labels_num, pooling=config.pooling, soft_alpha=soft_alpha)

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "cls": NLL of `labels["cls"]` [B]; `classification_term` says what else there may be."""
        return {"cls": classification_term(self.logits(inputs, layout=layout), labels, self.soft_alpha)}


def classification_term(logits: Tensor, labels: Inputs, soft_alpha: float = 0.5) -> Term:
    """The loss of logits [B, C] against `labels["cls"]` [B].

    With teacher's logits `labels["soft"]` [B, C] a row's loss is α·mean((logits - soft)²) + (1 - α)·NLL. With
    weights `labels["weight"]` [B] it is multiplied by the row's.
    """
    gold = labels["cls"]
    loss = F.cross_entropy(logits, gold, reduction="none")
    if "soft" in labels:
        distance = F.mse_loss(logits, labels["soft"], reduction="none").mean(dim=1)
        loss = soft_alpha * distance + (1 - soft_alpha) * loss
    if "weight" in labels:
        loss = loss * labels["weight"]
    count = torch.full((), gold.numel(), device=gold.device)
    return Term(loss.sum(), count, (logits.detach().argmax(dim=1) == gold).sum())


class ClassifierTask(TextTask):
    """What a classifier reads, learns from, and scores.

    Args:
        labels: the labels of the training file.
        soft_targets: training rows have a column `logits`.
        class_weights: training rows weigh n / (C · rows of their label).
        area: score the area under the ROC curve of more than two labels too.
        settings: of `TextTask`.
    """

    name = "classifier"
    columns: tuple[str, ...] = ("label", "text_a")
    """what a labelled file must have"""

    def __init__(
        self,
        tokenizer: Any,
        labels: LabelMap,
        *,
        soft_targets: bool = False,
        class_weights: bool = False,
        area: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(tokenizer, **settings)
        self.labels, self.soft_targets, self.class_weights, self.area = (
            labels,
            soft_targets,
            class_weights,
            area,
        )

    def read(self, path: str | Path, *, training: bool = False) -> Examples:
        """A labelled file as examples; soft targets and weights are for training only.

        Raises:
            DataError: a fault of the file, an unknown label, or teacher's logits that are not C numbers.
        """
        soft = self.soft_targets and training
        table = read_table(path, (*self.columns, "logits") if soft else self.columns, ("text_b",))
        labels = {"cls": label_ids(table, self.labels), **self.further(table)}
        if soft:
            labels["soft"] = teacher_logits(table, len(self.labels))
        if self.class_weights and training:
            labels["weight"] = balanced_weights(labels["cls"], len(self.labels))
        return self.labelled(table, labels, training)

    def further(self, table: Table) -> dict[str, np.ndarray]:
        """More labels of the rows of a file, for tasks that are scored otherwise."""
        return {}

    def metric(self, settled: bool = False) -> Classification:
        """A fresh metric."""
        return Classification(self.labels.names, area=self.area)

    def score(self, metric: Classification, outputs: np.ndarray, batch: Batch, examples: Examples) -> None:
        """Feed logits [B, C] of a batch to a metric."""
        metric.update(outputs, batch.labels["cls"])

    def saved(self) -> dict[str, Any]:
        """See `TextTask.saved`."""
        return super().saved(self.labels.names)


def read_labels(
    path: str | Path, labels_num: int | None = None, companion: Companion | None = None
) -> LabelMap:
    """The labels of a training file; see `LabelMap.collect`.

    A classifier to start from (`companion`) numbers them, when it names them all: its head goes by that.
    Plain numbers are no names: 0 and 1 of three may be another question's two.
    """
    values = ((line, row["label"]) for line, row in read_tsv(path, ("label", "text_a")))
    labels = LabelMap.collect(values, path, labels_num)
    known = companion.labels if companion is not None and labels_num is None else None
    names = [str(name) for name in known] if isinstance(known, (dict, list, tuple)) else []
    if set(labels.names) <= set(names) and names != [str(number) for number in range(len(names))]:
        return LabelMap(names, companion.folder)
    return labels


def label_ids(table: Table, labels: LabelMap) -> np.ndarray:
    """int64 [n], the ids of the column `label`."""
    ids = [labels.id_of(row["label"], table.path, line) for row, line in zip(table.rows, table.lines)]
    return np.array(ids, np.int64)


def balanced_weights(gold: np.ndarray, labels_num: int) -> np.ndarray:
    """float32 [n]: each label's rows weigh the same together, and all rows 1 on average."""
    counts = np.bincount(gold, minlength=labels_num)
    return (len(gold) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[gold].astype(np.float32)


def teacher_logits(table: Table, labels_num: int) -> np.ndarray:
    """float32 [n, C] from the column `logits`: C numbers a row with one blank between them.

    Raises:
        DataError: another count, or something that is no finite number.
    """
    out = np.empty((len(table), labels_num), np.float32)
    for number, (text, line) in enumerate(zip(table.column("logits"), table.lines)):
        fields = text.split()
        if len(fields) != labels_num:
            raise DataError(
                f"the column 'logits' holds {len(fields)} numbers, but there are {labels_num} labels.",
                path=table.path,
                line=line,
            )
        out[number] = [finite(field, "logits", table.path, line) for field in fields]
    return out


def finite(text: str, column: str, path: str | Path, line: int) -> float:
    """A number from a field.

    Raises:
        DataError: it is none, or not finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"the column '{column}' holds '{text[:40]}', which is no finite number.", path=path, line=line
        )
    return value


def saved_labels(
    path: str,
    companion: Companion | None,
    labels_num: int | None,
    *,
    task: str,
    head: str = "output_layer_2.weight",
) -> LabelMap:
    """The labels of a saved model: its companion's, or the integers that its `head` has room for.

    Raises:
        CheckpointError: `labels_num` was typed and is not the size of the head; the model is of another task.
    """
    check_task(path, companion, task)
    if companion is not None and companion.labels is not None:
        return LabelMap(companion.labels, path)
    output = canonical(read_state(path, "--load_model_path")).state.get(head)
    size = labels_num or 2 if output is None else output.shape[0]
    if labels_num not in (None, size):
        raise CheckpointError(
            f"--labels_num is {labels_num}, but {path} tells {size} labels apart; leave --labels_num out."
        )
    return LabelMap.numbered(size)


def prediction_columns(
    labels: LabelMap, logits: np.ndarray, with_logits: bool, with_prob: bool
) -> dict[str, list[str]]:
    """UER's output columns of logits [n, C]: the best label, and C numbers with blanks between them."""
    columns = {"label": [labels.names[number] for number in logits.argmax(axis=1)]}
    if with_logits:
        columns["logits"] = numbers(logits)
    if with_prob:
        columns["prob"] = numbers(torch.softmax(torch.from_numpy(logits), dim=-1).numpy())
    return columns


def numbers(values: np.ndarray) -> list[str]:
    """Each row of [n, C] in full precision, blanks between."""
    return [" ".join(map(str, row)) for row in values.tolist()]
