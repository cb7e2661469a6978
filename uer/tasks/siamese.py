"""Siamese networks (sentence-BERT, Reimers and Gurevych 2019): `label text_a text_b`, two streams.

The model is UER-py's: both texts pooled to u and v, a linear layer `classifier` over [u, v, |u - v|, u·v].
The other objective has no head: the cosine of u and v is the prediction.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.errors import ConfigError, DataError
from uer.metrics import Classification, Correlation
from uer.models.build import build_body
from uer.models.model import Inputs, Model
from uer.targets.term import Term
from uer.tasks.body import BodyModel, pooled_stream
from uer.tasks.classifier import (
    balanced_weights,
    classification_term,
    finite,
    label_ids,
    prediction_columns,
    saved_labels,
)
from uer.tasks.labels import LabelMap
from uer.tasks.pairs import Pairs, PairTask
from uer.tasks.predict import Predictor
from uer.tasks.setup import one_sided
from uer.tasks.table import Table, read_table

if TYPE_CHECKING:
    from uer.checkpoints.companion import Companion

HEAD = (r"classifier\.",)
"""names of the parameters that a pre-trained file does not hold"""


class SiameseModel(BodyModel):
    """Two texts, a vector each.

    Args:
        body: of a dual configuration (`uer.models.build.build_body`).
        labels_num: C; None: the cosine of the vectors is learnt, and there is no head.
        pooling: first, last, mean or max.
    """

    def __init__(self, body: Model, *, labels_num: int | None, pooling: str) -> None:
        super().__init__(body)
        self.pooling = pooling
        width = body.config.stream(0).hidden_size
        self.classifier = None if labels_num is None else nn.Linear(4 * width, labels_num)

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int) -> SiameseModel:
        """The model of a configuration; `labels_num` None means the cosine."""
        body = build_body(dual_config(config), vocab_size)
        return cls(body, labels_num=config.labels_num, pooling=config.pooling)

    def vectors(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """u and v, [B, H] each, from `src_0`, `seg_0`, `src_1`, `seg_1`."""
        first, second = (pooled_stream(self, number, self.pooling, inputs) for number in (0, 1))
        return first, second

    def stacked(self, inputs: Inputs) -> Tensor:
        """The vectors for a file, [B, 2, H]."""
        return torch.stack(self.vectors(inputs), dim=1)

    def predict(self, inputs: Inputs) -> Tensor:
        """fp32: logits [B, C], or cosines [B, 1]."""
        return self.outputs(*self.vectors(inputs))

    def outputs(self, u: Tensor, v: Tensor) -> Tensor:
        """What `predict` gives for vectors [B, H] and [B, H]."""
        if self.classifier is None:
            return F.cosine_similarity(u.float(), v.float())[:, None]
        return self.classifier(torch.cat([u, v, (u - v).abs(), u * v], dim=1)).float()

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: str = "auto") -> dict[str, Term]:
        """The term "cls": NLL of classes, or squared error of cosines, against `labels["cls"]` [B]."""
        outputs = self.predict(inputs)
        if self.classifier is not None:
            return {"cls": classification_term(outputs, labels)}
        loss = F.mse_loss(outputs[:, 0], labels["cls"], reduction="sum")
        count = torch.full((), len(outputs), device=loss.device)
        return {"cls": Term(loss, count, torch.zeros_like(count))}


def dual_config(config: ModelConfig) -> ModelConfig:
    """The configuration of a siamese body.

    Raises:
        ConfigError: it has one stream only, or the streams differ in width.
    """
    if config.encoder != "dual":
        raise ConfigError(
            f"--encoder is {config.encoder}; a siamese network has two streams: name a dual JSON config, as "
            "--config_path models/sbert/base_config.json (a pre-trained file of one stream fills both)."
        )
    widths = [config.stream(number).hidden_size for number in (0, 1)]
    if widths[0] != widths[1]:
        raise ConfigError(f"the streams have the hidden sizes {widths[0]} and {widths[1]}; make them equal.")
    return one_sided(config)


def twin_config(config: ModelConfig) -> dict[str, Any]:
    """What makes a configuration of one stream that of two which are one model (sentence-BERT)."""
    if config.encoder == "dual":
        return {}
    stream = {"embedding": list(config.embedding), "encoder": config.encoder}
    twins = {"embedding": ("dual",), "encoder": "dual", "stream_0": stream, "stream_1": stream}
    return {**twins, "target": (), "tie_weights": True}


class SiameseTask(PairTask):
    """What a siamese network reads, learns from, and scores.

    Args:
        labels: the labels of the training file; None: labels are numbers, the cosine is learnt.
        scale: numbers are divided by this (the greatest of the training file), so that they are cosines.
        class_weights: training rows weigh n / (C · rows of their label).
        settings: of `PairTask`.
    """

    name = "siamese"

    def __init__(
        self,
        tokenizer: Any,
        labels: LabelMap | None,
        *,
        scale: float = 1.0,
        class_weights: bool = False,
        area: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(tokenizer, **settings)
        self.labels, self.scale, self.class_weights, self.area = labels, scale, class_weights, area

    def read(self, path: str | Path, *, training: bool = False) -> Pairs:
        """A labelled file as pairs.

        Raises:
            DataError: a fault of the file, an unknown label, or one that is no finite number.
        """
        table = read_table(path, ("label", "text_a", "text_b"))
        if self.labels is None:
            gold = {"cls": numbers_of(table) / np.float32(self.scale)}
        else:
            gold = {"cls": label_ids(table, self.labels)}
            if self.class_weights and training:
                gold["weight"] = balanced_weights(gold["cls"], len(self.labels))
        return self.labelled(table, gold, training)

    def metric(self, settled: bool = False) -> Classification | Correlation:
        """A fresh metric."""
        return Correlation() if self.labels is None else Classification(self.labels.names, area=self.area)

    def score(self, metric: Any, outputs: np.ndarray, batch: Batch, examples: Pairs) -> None:
        """Feed what the model predicted for a batch to a metric."""
        metric.update(outputs[:, 0] if self.labels is None else outputs, batch.labels["cls"])

    def saved(self) -> dict[str, Any]:
        """See `PairTask.saved`."""
        if self.labels is None:
            return super().saved(scale=self.scale)
        return super().saved(self.labels.names)


def numbers_of(table: Table) -> np.ndarray:
    """float32 [n], the column `label` of a table as numbers.

    Raises:
        DataError: one is no finite number.
    """
    pairs = zip(table.column("label"), table.lines)
    return np.array([finite(text, "label", table.path, line) for text, line in pairs], np.float32)


def read_scale(path: str | Path) -> float:
    """The greatest label of a training file, by which labels become cosines.

    Raises:
        DataError: a label is no number or below 0, or none is above 0.
    """
    table = read_table(path, ("label", "text_a", "text_b"))
    values = numbers_of(table)
    if values.min() < 0:
        raise DataError(
            f"the label {values.min():g} is below 0; for --objective cosine labels count from 0 (unlike) up.",
            path=path,
            line=table.lines[int(values.argmin())],
        )
    if not values.max():
        raise DataError("all labels are 0, so there is nothing to learn for --objective cosine.", path=path)
    return float(values.max())


def saved_pair_labels(path: str, companion: Companion | None, labels_num: int | None) -> LabelMap | None:
    """The labels of a saved model: its companion's, the integers its head has room for, None for cosines.

    Raises:
        CheckpointError: `labels_num` was typed and is not the size of the head; the model is of another task.
    """
    if companion is not None and companion.labels is None and companion.extra.get("task") == "siamese":
        return None
    return saved_labels(path, companion, labels_num, task=SiameseTask.name, head="classifier.weight")


def pair_outputs(predictor: Predictor, pairs: Pairs, keep: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """What the model predicts for all pairs, and, when they are to be kept, the vectors [n, 2, H]."""
    if not keep:
        return predictor.logits(pairs), []
    vectors, model = predictor.computed(pairs, predictor.model.stacked), predictor.model
    with torch.inference_mode():
        u, v = torch.from_numpy(vectors).to(next(model.parameters()).device).unbind(1)
        return model.outputs(u, v).cpu().numpy(), [vectors]


def pair_columns(
    task: SiameseTask, outputs: np.ndarray, with_logits: bool, with_prob: bool
) -> dict[str, list[str]]:
    """UER's output columns of logits [n, C]; for cosines [n, 1] the number that was learnt."""
    if task.labels is not None:
        return prediction_columns(task.labels, outputs, with_logits, with_prob)
    return {"label": [str(value) for value in (outputs[:, 0] * task.scale).tolist()]}
