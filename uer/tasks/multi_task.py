"""Classification on several data sets at once: one body, and a head for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.data.random import Permutation
from uer.errors import ConfigError
from uer.metrics import Classification, Table
from uer.models.model import Inputs, Model
from uer.targets.term import Term
from uer.tasks.body import BodyModel, LayoutChoice, pooled, task_body
from uer.tasks.classifier import ClassifierTask, classification_term
from uer.tasks.finetune import Batches, Finetuning, shuffled
from uer.tasks.labels import LabelMap
from uer.tasks.predict import evaluate
from uer.tasks.rows import Examples
from uer.tasks.setup import check_task

if TYPE_CHECKING:
    from uer.checkpoints.companion import Companion

HEAD = (r"output_layers_[12]\.",)


class MultiTaskModel(BodyModel):
    """logits of data set i = output_layers_2[i](tanh(output_layers_1[i](pooled hidden states))).

    Args:
        body: embedding and encoder. sizes: number of labels of each data set.
    """

    partly_used = True
    """in each step only the head of one data set"""

    def __init__(self, body: Model, *, sizes: Sequence[int], pooling: str) -> None:
        super().__init__(body)
        self.pooling, width = pooling, body.config.hidden_size
        self.output_layers_1 = nn.ModuleList(nn.Linear(width, width) for _ in sizes)
        self.output_layers_2 = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int, sizes: Sequence[int]) -> MultiTaskModel:
        """The model of a configuration."""
        return cls(task_body(config, vocab_size), sizes=sizes, pooling=config.pooling)

    def logits(self, inputs: Inputs, number: int, *, layout: LayoutChoice = "auto") -> Tensor:
        """fp32 [B, C] of data set `number`."""
        return self._head(pooled(self, self.pooling, inputs, layout), number)

    def _head(self, vectors: Tensor, number: int) -> Tensor:
        return self.output_layers_2[number](torch.tanh(self.output_layers_1[number](vectors))).float()

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "cls" for `labels["i"]` [B] of data set i; a batch is of one data set."""
        (name,) = labels
        logits = self.logits(inputs, int(name), layout=layout)
        return {"cls": classification_term(logits, {"cls": labels[name]})}

    def predict(self, inputs: Inputs) -> Tensor:
        """The logits of all data sets side by side, [B, sum of C]."""
        vectors = pooled(self, self.pooling, inputs)
        return torch.cat([self._head(vectors, i) for i in range(len(self.output_layers_1))], dim=1)


class MultiTask:
    """Several classifiers over one body.

    Args:
        tasks: that of each data set; they share tokenizer and settings.
    """

    name = "multi_task"

    def __init__(self, tasks: Sequence[ClassifierTask]) -> None:
        self.tasks, self.tokenizer, self.seq_length = list(tasks), tasks[0].tokenizer, tasks[0].seq_length
        self.sizes = [len(task.labels) for task in tasks]
        self.borders = np.cumsum([0, *self.sizes])

    def collate(self, examples: Examples, rows: np.ndarray, number: int | None = None) -> Batch:
        """A batch of rows of data set `number`; None: rows without labels."""
        batch = self.tasks[number or 0].collate(examples, rows)
        if number is None:
            return batch
        return Batch(batch.inputs, {str(number): batch.labels["cls"]}, {"cls": len(rows)}, rows)

    def metric(self, settled: bool = False) -> MultiMetric:
        """A fresh metric."""
        return MultiMetric([task.metric() for task in self.tasks])

    def part(self, logits: np.ndarray, number: int) -> np.ndarray:
        """The logits of one data set [n, C] among those of all."""
        return logits[:, self.borders[number] : self.borders[number + 1]]

    def saved(self) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        first = self.tasks[0].saved()
        return {
            "labels": [task.labels.names for task in self.tasks],
            "extra": {**first["extra"], "task": self.name},
        }

    def columns(self, logits: np.ndarray, with_logits: bool, with_prob: bool) -> dict[str, list[str]]:
        """UER's output columns: in each cell the data sets with a bar between, numbers with four decimals."""
        parts = [self.part(logits, number) for number in range(len(self.tasks))]
        names = [[task.labels.names[i] for i in part.argmax(axis=1)] for task, part in zip(self.tasks, parts)]
        columns = {"label": ["|".join(row) for row in zip(*names)]}
        if with_logits:
            columns["logits"] = _joined(parts)
        if with_prob:
            columns["prob"] = _joined(
                [torch.softmax(torch.from_numpy(part), dim=-1).numpy() for part in parts]
            )
        return columns


def _joined(parts: Sequence[np.ndarray]) -> list[str]:
    cells = [[" ".join(f"{value:.4f}" for value in row) for row in part.tolist()] for part in parts]
    return ["|".join(row) for row in zip(*cells)]


class MultiMetric:
    """The scores of several data sets; each counts once."""

    def __init__(self, parts: Sequence[Classification]) -> None:
        self.parts = list(parts)

    def scores(self) -> dict[str, float]:
        """The means of the scores that all data sets have."""
        each = [part.scores() for part in self.parts]
        return {
            name: float(np.mean([s[name] for s in each])) for name in each[0] if all(name in s for s in each)
        }

    def report(self) -> list[str]:
        """The lines of each data set in their order."""
        return [line for part in self.parts for line in part.report()]

    def tables(self) -> list[Table]:
        """The tables of each data set in their order."""
        return [
            table._replace(title=f"Data set {number}: {table.title}")
            for number, part in enumerate(self.parts, 1)
            for table in part.tables()
        ]


class MultiFinetuning(Finetuning):
    """`Finetuning` on a list of examples, one a data set."""

    def count(self, train: list[Examples]) -> int:
        """Rows of all data sets."""
        return sum(map(len, train))

    def batches(self, train: list[Examples]) -> Batches:
        """Each epoch the batches of all data sets, mixed anew."""
        parts = []
        for number, examples in enumerate(train):
            single = _Single(self.task, number)
            parts.append(shuffled(single, examples, self.training, self.workers))
        borders = np.cumsum([0, *(part.period for part in parts)])
        period, seed = int(borders[-1]), self.training.seed

        def get(step: int) -> Batch:
            """The batch of a step, of one data set."""
            epoch, within = divmod(step, period)
            place = int(Permutation(period, seed, "datasets", epoch)(np.array([within]))[0])
            number = int(np.searchsorted(borders, place, side="right")) - 1
            part = parts[number]
            return part.get(epoch * part.period + place - int(borders[number]))

        return Batches(period, get)

    def evaluate(self, examples: list[Examples], settled: bool = False) -> MultiMetric:
        """The metrics of all data sets."""
        common = {"batch_size": self.training.batch_size, "precision": self.precision, "settled": settled}
        scorers = [_Single(self.task, number) for number in range(len(examples))]
        return MultiMetric(
            [evaluate(self.model, one, part, **common) for one, part in zip(scorers, examples)]
        )


class _Single:
    """One data set of a `MultiTask`."""

    def __init__(self, task: MultiTask, number: int) -> None:
        self.task, self.number = task, number

    def collate(self, examples: Examples, rows: np.ndarray) -> Batch:
        """A batch of some of the examples."""
        return self.task.collate(examples, rows, self.number)

    def metric(self, settled: bool = False) -> Classification:
        """The metric of this data set."""
        return self.task.tasks[self.number].metric(settled)

    def score(self, metric: Classification, outputs: np.ndarray, batch: Batch, examples: Examples) -> None:
        """Feed this data set's part of the logits to its metric."""
        metric.update(self.task.part(outputs, self.number), batch.labels[str(self.number)])


def saved_label_lists(path: str, companion: Companion | None, sizes: Sequence[int]) -> list[LabelMap]:
    """The labels of each data set of a saved model: its companion's, or integers by the typed sizes.

    Raises:
        ConfigError: neither is there, or they differ.
        CheckpointError: the model is of another task.
    """
    check_task(path, companion, MultiTask.name)
    if companion is None or companion.labels is None:
        if not sizes:
            raise ConfigError(
                "--labels_num_list must be given: the model has no companion folder with labels."
            )
        return [LabelMap.numbered(size) for size in sizes]
    lists = [LabelMap(names, path) for names in companion.labels]
    saved = [len(labels) for labels in lists]
    if sizes and list(sizes) != saved:
        raise ConfigError(
            f"--labels_num_list is {' '.join(map(str, sizes))}, but the model of --load_model_path has "
            f"{' '.join(map(str, saved))} labels; leave it out."
        )
    return lists
