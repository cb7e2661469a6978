"""Multiple choice: every choice of a question is a row, and one number says how good it is.

The model is UER-py's: a linear layer over the first token, or what `--pooling` says (`output_layer`); models
of Hugging Face have a layer with an activation before it (`output_layer_1`). A choice that a question does
not have takes no part; UER fills it with "No Answer" or padding and lets it compete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.data.batch import Batch
from uer.data.documents import Node
from uer.errors import DataError
from uer.layers.activations import activation
from uer.layers.dropout import Dropout
from uer.metrics import Confusion
from uer.models.model import Inputs, Model
from uer.targets.term import Term
from uer.tasks.body import BodyModel, LayoutChoice, pooled
from uer.tasks.overflow import CUT, remembered, scored, settle_overflow
from uer.tasks.rows import Examples

HEAD = (r"output_layer(_1)?\.",)
ABSENT = torch.finfo(torch.float32).min / 4
"""the logit of a choice that is not there"""


class ChoiceModel(BodyModel):
    """A number for every choice.

    `inputs`: `src` and `seg` [B, K, L]; `choice` [B, K], 1 where there is a choice; others are not computed.

    Args:
        body: embedding and encoder.
    """

    def __init__(self, body: Model) -> None:
        super().__init__(body)
        width, act = body.config.hidden_size, body.config.head_act or "none"
        self.output_layer_1 = None if act == "none" else nn.Linear(width, width)
        self.act = None if act == "none" else activation(act)
        self.dropout = Dropout(body.config.dropout)
        self.output_layer = nn.Linear(width, 1)

    def logits(self, inputs: Inputs, *, layout: LayoutChoice = "auto") -> Tensor:
        """fp32 [B, K]; `ABSENT` where there is no choice."""
        there = inputs["choice"] > 0
        rows = {name: x[there] for name, x in inputs.items() if name != "choice"}
        vectors = pooled(self, self.config.pooling, rows, layout)
        if self.output_layer_1 is not None:
            vectors = self.act(self.output_layer_1(vectors))
        scores = self.output_layer(self.dropout(vectors)).float()[:, 0]
        return scores.new_full(there.shape, ABSENT).masked_scatter(there, scores)

    def predict(self, inputs: Inputs) -> Tensor:
        """What prediction and evaluation read: the logits."""
        return self.logits(inputs)

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "choice": NLL of `labels["choice"]` [B] over the choices of each question."""
        logits, gold = self.logits(inputs, layout=layout), labels["choice"]
        loss = F.cross_entropy(logits, gold, reduction="sum")
        correct = (logits.detach().argmax(dim=1) == gold).sum()
        return {"choice": Term(loss, torch.full((), len(gold), device=gold.device), correct)}


@dataclass
class Questions:
    """Encoded questions.

    Attributes:
        rows: one row a choice, those of a question one behind the other.
        first: int64 [n + 1], where the rows of each question begin.
        gold: int64 [n], the number of the right choice; None when it is to be predicted.
        of: where these are windows of questions: the question of each.
    """

    rows: Examples
    first: np.ndarray
    gold: np.ndarray | None = None
    of: np.ndarray | None = None
    lengths: np.ndarray = field(init=False)
    """int64 [n], ids of the longest choice"""

    def __post_init__(self) -> None:
        self.lengths = np.maximum.reduceat(self.rows.lengths, self.first[:-1])

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def rows_num(self) -> int:
        """Number of questions, however many windows they are read in."""
        return len(self) if self.of is None else int(self.of[-1]) + 1

    @property
    def counts(self) -> np.ndarray:
        """int64 [n], choices of each question."""
        return np.diff(self.first)

    @property
    def long(self) -> np.ndarray:
        """bool [n], questions with a choice that was cut."""
        return np.logical_or.reduceat(self.rows.long, self.first[:-1])

    def take(self, numbers: np.ndarray) -> Questions:
        """Some of the questions, in the order in which they are named."""
        counts = self.counts[numbers]
        first = np.concatenate([[0], counts.cumsum()])
        gold, of = (None if x is None else x[numbers] for x in (self.gold, self.of))
        return Questions(self.rows.take(self._rows(numbers)), first, gold, of)

    def _rows(self, numbers: np.ndarray) -> np.ndarray:
        if not len(numbers):
            return np.empty(0, np.int64)
        return np.concatenate([np.arange(self.first[number], self.first[number + 1]) for number in numbers])

    def batch(self, numbers: np.ndarray, pad_id: int) -> Batch:
        """A batch of some of the questions; K is the most choices of all, the same in every batch."""
        counts = self.counts
        there = np.arange(counts.max()) < counts[numbers][:, None]
        inputs = {"choice": there.astype(np.int64)}
        for name, rows in self.rows.padded(self._rows(numbers), pad_id).items():
            inputs[name] = np.zeros((*there.shape, rows.shape[1]), np.int64)
            inputs[name][there] = rows
        return Batch(
            inputs=inputs,
            labels={} if self.gold is None else {"choice": self.gold[numbers]},
            counts={"choice": len(numbers)},
            ids=numbers,
        )


class ChoiceTask:
    """What all tasks of multiple choice have in common; a subclass reads its files.

    Args:
        seq_length: rows are cut at so many ids.
        choices_num: most choices of a question.
        overflow: what happens to questions with a longer row: in training see
            `uer.tasks.overflow.settle_overflow`; elsewhere they are cut too, or read in windows.

    Attributes:
        name: the task, as the companion folder names it.
        unit: what messages call its rows. cut: what they say of rows that are too long.
    """

    name: str
    unit, cut = "questions", CUT

    def __init__(
        self, tokenizer: Any, *, seq_length: int, choices_num: int, overflow: str = "truncate"
    ) -> None:
        self.tokenizer, self.seq_length, self.choices_num = tokenizer, seq_length, choices_num
        self.overflow = overflow

    def choices(self, node: Node) -> list[str]:
        """The texts of the choices in a list.

        Raises:
            DataError: fewer than two, or more than there may be.
        """
        texts = [item.text() for item in node.items(least=2)]
        if len(texts) > self.choices_num:
            raise node.fault(
                f"there are {len(texts)} choices, and --max_choices_num is {self.choices_num}; raise it."
            )
        return texts

    def settle(self, questions: Questions, places: Sequence[Node], training: bool) -> Questions:
        """Questions that are too long are dealt with, and counted.

        Args:
            places: where each stands.

        Raises:
            DataError: with `--overflow error`; or no question is left.
        """
        return settle_overflow(
            questions,
            places[0].path,
            lambda number, message: places[number].fault(message),
            seq_length=self.seq_length,
            how=self.overflow if training else scored(self.overflow),
            what=self.unit,
            cut=self.cut,
        )

    def collate(self, examples: Questions, rows: np.ndarray) -> Batch:
        """A batch of some of the questions."""
        return examples.batch(rows, self.tokenizer.pad_id)

    def metric(self, settled: bool = False) -> Confusion:
        """A fresh metric."""
        return Confusion(self.choices_num)

    def score(self, metric: Confusion, outputs: np.ndarray, batch: Batch, examples: Questions) -> None:
        """Feed logits [B, K] of a batch to a metric."""
        metric.update(outputs.argmax(axis=1), batch.labels["choice"])

    def saved(self) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        extra = {"task": self.name, "seq_length": self.seq_length, "max_choices_num": self.choices_num}
        return {"labels": None, "extra": {**extra, **remembered(self.overflow)}}


def question_file(path: str | Path, found: int) -> None:
    """Raise when a file holds no question.

    Raises:
        DataError: `found` is 0.
    """
    if not found:
        raise DataError("there is no question in the file.", path=path)
