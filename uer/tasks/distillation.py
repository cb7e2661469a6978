"""A small classifier learns from a large one that was fine-tuned before (Hinton et al. 2015, TinyBERT's
task-specific stage: Jiao et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uer.checkpoints import read_companion
from uer.checkpoints.io import check_exists
from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.errors import ConfigError
from uer.layers.pooling import pool
from uer.metrics import Metric
from uer.models.build import build_target
from uer.models.model import Inputs, Model, Passes, Targets
from uer.targets.term import Term
from uer.tasks.body import LayoutChoice, task_body
from uer.tasks.classifier import ClassifierModel, ClassifierTask, saved_labels
from uer.tasks.finetune import Finetuning
from uer.tasks.labels import LabelMap
from uer.tasks.predict import batches, predicting
from uer.tasks.rows import Examples
from uer.tasks.setup import load_saved
from uer.tokenizers import load_tokenizer
from uer.tokenizers.base import Tokenizer
from uer.training.windows import to_tensors

FLAG = "--teacher_path"
HEAD = (r"output_layer_[12]\.", r"target\.")
"""names of the parameters that a pre-trained file does not hold"""


class DistilledClassifier(ClassifierModel):
    """A classifier with a frozen one beside it.

    Terms: "soft", τ²·KL(softmax(z_teacher/τ) ‖ softmax(z_student/τ)) of the logits of each row; "cls", its
    true label; and those of the targets that compare states and attention (`uer.targets.distillation`).

    Args:
        teacher: a fine-tuned classifier.
        learnt: what is learnt from it: "soft", and names of targets.
        hard_share: share of the true labels in what the head learns.
    """

    def __init__(
        self, body: Model, teacher: ClassifierModel, learnt: Sequence[str], *, hard_share: float = 0.0
    ) -> None:
        config = body.config
        super().__init__(body, labels_num=config.labels_num, pooling=config.pooling)
        others = [name for name in learnt if name != "soft"]
        told = config.replace(target=tuple(others), teacher={**teacher.config.settings(), "target": []})
        self.target = Targets({name: build_target(name, told, 0) for name in others})
        self.soft, self.hard_share, self.temperature = "soft" in learnt, hard_share, config.soft_temperature
        self.take_partner("teacher", teacher)

    @property
    def partly_used(self) -> bool:
        """See `Model.partly_used`; without guesses the head learns nothing."""
        return not self.soft or super().partly_used

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The terms; `labels["cls"]` [B]."""
        source = self.source(inputs, layout)
        run = Passes(self, source, None, self.hidden_states(source, None, self.target.all_layers))
        terms = self.guesses(run, labels["cls"]) if self.soft else {}
        return {**terms, **self.terms(run, labels)}

    def guesses(self, run: Passes, gold: Tensor) -> dict[str, Term]:
        """What the head learns, from guesses and true labels."""
        seg, layout = run.streams["seg"], run.source.layout
        logits = self.head(pool(self.pooling, run.first.hidden, seg, layout))
        with torch.no_grad():
            wanted = self.teacher.head(pool(self.teacher.pooling, run.teacher.hidden, seg, layout))
        distance = guess_distance(logits, wanted, self.temperature)
        count = torch.full((), gold.numel(), device=gold.device)
        right = (logits.detach().argmax(dim=1) == gold).sum()
        terms = {"soft": Term(distance, count, right, 1 - self.hard_share)}
        if self.hard_share:
            loss = F.cross_entropy(logits, gold, reduction="sum")
            terms["cls"] = Term(loss, count, right, self.hard_share)
        return terms


def guess_distance(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """τ²·KL(softmax(wanted/τ) ‖ softmax(logits/τ)) of rows [B, C], summed over them."""
    own, theirs = ((z / temperature).log_softmax(dim=-1) for z in (logits, wanted))
    return F.kl_div(own, theirs, reduction="sum", log_target=True) * temperature**2


def open_teacher(path: str, tokenizer: Tokenizer) -> tuple[ClassifierModel, LabelMap]:
    """A fine-tuned classifier and its labels.

    Raises:
        ConfigError: the file says nothing about itself, or its vocabulary is another one.
        CheckpointError: it is not there, cannot be read, or is of another task.
    """
    companion = read_companion(path)
    if companion is None:
        check_exists(path, "--teacher_path")
        raise ConfigError(
            f"{path} has no companion folder that says what model it is; fine-tune the teacher with "
            "finetune/run_classifier.py, or name a Hugging Face folder."
        )
    labels = saved_labels(path, companion, None, task="classifier")
    if companion.tokenizer is not None:
        theirs = load_tokenizer(companion.tokenizer)
        if theirs.vocab.tokens != tokenizer.vocab.tokens:
            raise ConfigError(
                f"the vocabulary has {len(tokenizer)} tokens and that of {path} is another one of "
                f"{len(theirs)}; teacher and student must read the same tokens."
            )
    config = companion.config.replace(labels_num=len(labels))
    teacher = ClassifierModel.build(config, len(tokenizer))
    load_saved(teacher, path, companion, task="classifier", flag=FLAG)
    return teacher, labels


def build_student(
    config: ModelConfig,
    vocab_size: int,
    *,
    teacher: ClassifierModel,
    learnt: Sequence[str],
    hard_share: float = 0.0,
) -> DistilledClassifier:
    """The model of a configuration whose `labels_num` is set, with the teacher beside it.

    Raises:
        ConfigError: both do not fit together for what is to be learnt.
    """
    return DistilledClassifier(task_body(config, vocab_size), teacher, learnt, hard_share=hard_share)


class DistillTask(ClassifierTask):
    """A classifier that learns from another one.

    Args:
        learnt, hard_share: as of `DistilledClassifier`.
    """

    def __init__(
        self, tokenizer: Any, labels: LabelMap, *, learnt: Sequence[str], hard_share: float, **settings: Any
    ) -> None:
        super().__init__(tokenizer, labels, **settings)
        self.learnt, self.hard_share = tuple(learnt), hard_share

    def collate(self, examples: Examples, rows: np.ndarray) -> Batch:
        """See `TextTask.collate`; states are compared token by token."""
        batch = super().collate(examples, rows)
        tokens = int(np.count_nonzero(batch.inputs["seg"]))
        counts = {name: len(rows) if name == "soft" else tokens for name in self.learnt}
        if self.hard_share:
            counts["cls"] = len(rows)
        batch.counts = counts
        return batch

    def metric(self, settled: bool = False) -> Metric:
        """A fresh metric."""
        return super().metric(settled) if "soft" in self.learnt else Distance()


class Distance:
    """How far a model is from its teacher: the loss, where there is no head to be scored."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def update(self, terms: dict[str, Term]) -> None:
        """Take in the terms of a batch."""
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(term.loss_sum)
            self.counts[name] = self.counts.get(name, 0) + int(term.count)

    def means(self) -> dict[str, float]:
        """Of each term."""
        return {name: total / max(1, self.counts[name]) for name, total in self.sums.items()}

    def scores(self) -> dict[str, float]:
        """Greater is closer."""
        return {"closeness": -sum(self.means().values()) if self.sums else float("nan")}

    def report(self) -> list[str]:
        """One line."""
        parts = ", ".join(f"{name} {mean:.4f}" for name, mean in self.means().items())
        return [f"Distance from the teacher: {parts}"]


class Distillation(Finetuning):
    """One run; the best model is the one with the best score, or the one closest to its teacher."""

    def evaluate(self, examples: Examples, settled: bool = False) -> Metric:
        """See `Finetuning.evaluate`."""
        if self.model.soft:
            return super().evaluate(examples, settled)
        distance, device = Distance(), self.workers.device
        for batch in batches(examples, self.task.collate, self.training.batch_size):
            tensors = to_tensors(batch).to(device)
            with predicting(self.model), self.precision.autocast():
                distance.update(self.model(tensors.inputs, tensors.labels))
        return distance
