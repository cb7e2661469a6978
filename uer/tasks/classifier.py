"""Classification of a text or a pair: `label text_a [text_b] [logits]`.

The model is UER-py's: embedding and encoder, pooling, `output_layer_1` and tanh, `output_layer_2`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.checkpoints import canonical, read_state
from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.data.readers import read_tsv
from uer.errors import CheckpointError, DataError
from uer.layers.activations import activation
from uer.metrics import Confusion
from uer.models.build import build_body
from uer.models.model import Inputs, Model
from uer.targets.term import Term
from uer.tasks.body import LayoutChoice, pooled
from uer.tasks.labels import LabelMap
from uer.tasks.rows import Examples, encode_texts, say_cut
from uer.tasks.setup import encoder_config
from uer.tasks.table import Table, read_table

if TYPE_CHECKING:
    from uer.checkpoints.companion import Companion

HEAD = (r"output_layer_[12]\.",)
"""names of the parameters that a pre-trained file does not hold"""


class ClassifierModel(Model):
    """logits = output_layer_2(tanh(output_layer_1(pooled hidden states))).

    The configuration may name another activation (`head_act`), or "none" for a single layer.

    Args:
        body: embedding and encoder (`uer.models.build.build_body`).
        labels_num: C.
        pooling: first, last, mean or max.
        soft_alpha: share of the teacher's logits in the loss; only used when a batch brings them.
    """

    def __init__(self, body: Model, *, labels_num: int, pooling: str, soft_alpha: float = 0.5) -> None:
        super().__init__(body.config, embedding=body.embedding, encoder=body.encoder)
        self.pooling, self.soft_alpha = pooling, soft_alpha
        width, act = body.config.hidden_size, body.config.head_act or "tanh"
        self.output_layer_1 = None if act == "none" else nn.Linear(width, width)
        self.output_layer_2 = nn.Linear(width, labels_num)
        self.act = None if act == "none" else activation(act)

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int, *, soft_alpha: float = 0.5) -> ClassifierModel:
        """The model of a configuration whose `labels_num` is set."""
        body = build_body(encoder_config(config), vocab_size)
        return cls(body, labels_num=config.labels_num, pooling=config.pooling, soft_alpha=soft_alpha)

    def logits(self, inputs: Inputs, *, layout: LayoutChoice = "auto") -> Tensor:
        """fp32 [B, C] from `src` and `seg` [B, L]."""
        vectors = pooled(self, self.pooling, inputs, layout)
        if self.output_layer_1 is not None:
            vectors = self.act(self.output_layer_1(vectors))
        return self.output_layer_2(vectors).float()

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "cls": NLL of `labels["cls"]` [B], and with `labels["soft"]` [B, C] their distance too.

        With soft targets a row's loss is α·mean((logits - soft)²) + (1 - α)·NLL.
        """
        logits, gold = self.logits(inputs, layout=layout), labels["cls"]
        loss = F.cross_entropy(logits, gold, reduction="sum")
        if "soft" in labels:
            distance = F.mse_loss(logits, labels["soft"], reduction="sum") / logits.shape[1]
            loss = self.soft_alpha * distance + (1 - self.soft_alpha) * loss
        with torch.no_grad():
            count = torch.tensor(gold.numel(), device=gold.device)
            return {"cls": Term(loss, count, (logits.argmax(dim=1) == gold).sum())}


class ClassifierTask:
    """What a classifier reads, learns from, and writes.

    Args:
        tokenizer: see `uer.tokenizers.base.Tokenizer`.
        labels: the labels of the training file.
        seq_length: rows are cut at so many ids.
        single_text_sep: False: no `[SEP]` behind a single text (UER-py 2021).
        soft_targets: training rows have a column `logits`.
    """

    def __init__(
        self,
        tokenizer,
        labels: LabelMap,
        *,
        seq_length: int,
        single_text_sep: bool = True,
        soft_targets: bool = False,
    ) -> None:
        self.tokenizer, self.labels = tokenizer, labels
        self.seq_length, self.single_text_sep, self.soft_targets = seq_length, single_text_sep, soft_targets

    def read(self, path: str | Path, *, training: bool = False) -> Examples:
        """A labelled file as examples; soft targets are read for training only.

        Raises:
            DataError: a fault of the file, an unknown label, or teacher's logits that are not C numbers.
        """
        soft = self.soft_targets and training
        table = read_table(path, ("label", "text_a", "logits") if soft else ("label", "text_a"), ("text_b",))
        examples = self.encode(table.rows)
        gold = [self.labels.id_of(row["label"], path, line) for row, line in zip(table.rows, table.lines)]
        examples.labels["cls"] = np.array(gold, np.int64)
        if soft:
            examples.labels["soft"] = teacher_logits(table, len(self.labels))
        say_cut(examples, str(path), self.seq_length)
        return examples

    def encode(self, rows: Sequence[Mapping[str, str]]) -> Examples:
        """Rows with `text_a`, and all or none with `text_b`, as ids."""
        return encode_texts(
            self.tokenizer, rows, seq_length=self.seq_length, single_text_sep=self.single_text_sep
        )

    def collate(self, examples: Examples, rows: np.ndarray) -> Batch:
        """A batch of some of the examples."""
        return Batch(
            inputs=examples.padded(rows, self.tokenizer.pad_id),
            labels={name: values[rows] for name, values in examples.labels.items()},
            counts={"cls": len(rows)},
            ids=rows,
        )

    def metric(self) -> Confusion:
        """A fresh metric."""
        return Confusion(self.labels.names)

    def score(self, metric: Confusion, outputs: np.ndarray, labels: dict[str, np.ndarray]) -> None:
        """Feed logits [B, C] and a batch's labels to a metric."""
        metric.update(outputs.argmax(axis=1), labels["cls"])


def read_labels(path: str | Path, labels_num: int | None = None) -> LabelMap:
    """The labels of a training file; see `LabelMap.collect`."""
    values = ((line, row["label"]) for line, row in read_tsv(path, ("label", "text_a")))
    return LabelMap.collect(values, path, labels_num)


def saved_labels(path: str, companion: Companion | None, labels_num: int | None) -> LabelMap:
    """The labels of a saved model: its companion's, or the integers that its head has room for.

    Raises:
        CheckpointError: `labels_num` was typed and is not the size of the head.
    """
    if companion is not None and companion.labels is not None:
        return LabelMap(companion.labels, path)
    head = canonical(read_state(path, "--load_model_path")).state.get("output_layer_2.weight")
    size = labels_num or 2 if head is None else head.shape[0]
    if labels_num not in (None, size):
        raise CheckpointError(
            f"--labels_num is {labels_num}, but {path} tells {size} labels apart; leave --labels_num out."
        )
    return LabelMap.numbered(size)


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
        for place, field in enumerate(fields):
            try:
                value = float(field)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise DataError(
                    f"the column 'logits' holds '{field[:40]}', which is no finite number.",
                    path=table.path,
                    line=line,
                )
            out[number, place] = value
    return out


def prediction_columns(
    labels: LabelMap, logits: np.ndarray, *, with_logits: bool, with_prob: bool
) -> dict[str, list[str]]:
    """UER's output columns of logits [n, C]: the best label, and C numbers with blanks between them."""
    columns = {"label": [labels.names[number] for number in logits.argmax(axis=1)]}
    if with_logits:
        columns["logits"] = [" ".join(map(str, row)) for row in logits.tolist()]
    if with_prob:
        probabilities = torch.softmax(torch.from_numpy(logits), dim=-1)
        columns["prob"] = [" ".join(map(str, row)) for row in probabilities.tolist()]
    return columns
