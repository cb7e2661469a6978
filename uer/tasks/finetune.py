"""Fine-tuning of any task: shuffled batches, evaluations, the best model kept, re-loaded and tested."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import nn

from uer.checkpoints import load_into
from uer.config.finetune import RunOptions
from uer.config.model import ModelConfig
from uer.config.training import AdversarialOptions, OptimizerOptions, TrainOptions
from uer.data.batch import Batch
from uer.data.order import BatchOrder
from uer.metrics import Metric, select
from uer.models.adapters import merge_adapters
from uer.tasks.predict import evaluate
from uer.tasks.rows import Examples
from uer.tasks.setup import pick_device, pick_precision, save_model
from uer.training.adversarial import build_attack
from uer.training.loop import Evaluating, fit
from uer.training.optimizers import build_optimizer
from uer.training.precision import Precision
from uer.training.report import finetuning_line
from uer.training.runlog import RunLog, run_folder
from uer.training.schedulers import build_schedule
from uer.training.windows import Windows
from uer.training.workers import Workers
from uer.utils.logging import logger

LIKE = 8
"""rows whose lengths fall into the same stretch of so many ids count as equally long: batches stay mixed"""


class Task(Protocol):
    """What the file of a task offers to training and evaluation."""

    tokenizer: Any

    def read(self, path: str | Path, *, training: bool = False) -> Examples:
        """A labelled file as examples."""

    def collate(self, examples: Examples, rows: np.ndarray) -> Batch:
        """A batch of some of the examples."""

    def metric(self, settled: bool = False) -> Metric:
        """A fresh metric; `settled`: what the task chooses on the development file has been chosen."""

    def score(self, metric: Metric, outputs: np.ndarray, batch: Batch, examples: Examples) -> None:
        """Feed what `model.predict` gave for a batch to a metric."""

    def saved(self) -> dict[str, Any]:
        """`labels` and `extra` of the companion folder."""


@dataclass
class Best:
    """The best evaluation so far.

    Attributes:
        score: of the selecting metric; below all numbers until there is one.
        epoch: the epoch it was reached in, from 1.
        step: batches done until then.
        scores: all scores of that evaluation.
    """

    score: float = -math.inf
    epoch: int = 0
    step: int = 0
    scores: dict[str, float] = field(default_factory=dict)

    def take(self, scores: dict[str, float], name: str | None, *, epoch: int, step: int) -> bool:
        """Whether an evaluation is strictly better than all before; then it is the best."""
        score = select(scores, name)
        if not score > self.score:
            return False
        self.score, self.epoch, self.step, self.scores = score, epoch, step, dict(scores)
        return True


class _EnoughError(Exception):
    """Ends a run whose score does not rise any more."""


@dataclass
class _Patience:
    """Counts evaluations in a row without a better score."""

    metric: str | None
    limit: int
    best: float = -math.inf
    waited: int = 0

    def take(self, scores: dict[str, float]) -> None:
        """Take in an evaluation; raises `_EnoughError` when it is one too many."""
        score = select(scores, self.metric)
        self.waited = 0 if score > self.best else self.waited + 1
        self.best = max(self.best, score) if not math.isnan(score) else self.best
        if self.waited >= self.limit:
            raise _EnoughError


class Batches(NamedTuple):
    """The batches of a run."""

    period: int
    """batches of an epoch"""
    get: Callable[[int], Batch]
    """number of a step, from 0 → its batch; a pure function"""


def shuffled(task: Task, train: Examples, training: TrainOptions) -> Batches:
    """All examples in a new order each epoch, rows of like length together."""
    order = BatchOrder(
        len(train),
        training.batch_size,
        seed=training.seed,
        ends="keep",
        lengths=np.ceil(train.lengths / LIKE).astype(np.int64),
    )
    return Batches(order.steps_per_epoch, lambda step: task.collate(train, order.batch(step)))


def finetune(
    model: nn.Module,
    task: Task,
    batches: Batches,
    *,
    options: RunOptions,
    training: TrainOptions,
    optimization: OptimizerOptions,
    adversarial: AdversarialOptions,
    precision: Precision,
    score: Callable[[], Metric],
    save: Callable[[], None] | None = None,
    folder: Path | None = None,
    settings: dict[str, Any] | None = None,
    eval_steps: int | None = None,
    quiet: bool = False,
) -> Best:
    """Train a model and keep the best of its evaluations.

    Args:
        model: gives terms for `model(inputs, labels)`, and `predict(inputs)`.
        batches: see `shuffled`.
        score: the metric of the model as it stands, on the development file.
        save: keeps the model as it stands; called whenever an evaluation is better than all before.
        folder, settings: where the run's record goes, and all options, which are part of it.
        eval_steps: evaluate every so many batches, whatever the options say.
        quiet: no line about batches and evaluations (trials of a search).
    """
    period = batches.period
    windows = Windows(period * options.epochs_num, training.accumulation_steps, period=period)
    log = RunLog(finetuning_line(period), total=windows.total, folder=folder, quiet=quiet)
    log.describe(settings or {}, precision=precision.name)
    best, patience = Best(), None if options.patience is None else _Patience(*options.patience)
    for name in (options.best_metric, patience and patience.metric):
        select(task.metric().scores(), name)  # a wrong name ends the run here and not after an epoch

    def evaluation(step: int) -> None:
        metric, epoch = score(), math.ceil(step / period)
        scores = metric.scores()
        for line in metric.report():
            log.say("%s", line)
        log.record({"step": step, "epoch": epoch, **{f"dev_{name}": x for name, x in scores.items()}})
        if best.take(scores, options.best_metric, epoch=epoch, step=step) and save is not None:
            save()
        if patience is not None:
            patience.take(scores)

    try:
        fit(
            model,
            batches.get,
            training,
            optimizer=build_optimizer(model, optimization),
            schedule=build_schedule(optimization, windows.updates),
            windows=windows,
            precision=precision,
            log=log,
            evaluating=Evaluating(evaluation, eval_steps or options.eval_steps or period),
            attack=build_attack(model, adversarial),
            workers=Workers(next(model.parameters()).device),
            max_grad_norm=optimization.max_grad_norm,
        )
    except _EnoughError:
        log.say("No better score in %d evaluations (--early_stopping): training ends here.", patience.limit)
    if not best.epoch and save is not None:
        logger.warning(
            "No evaluation had a score that is a number, so none is the best; the last one is saved."
        )
        save()
    return best


class Finetuning:
    """One run of a fine-tuning script: the model goes to its device, is trained, kept and tested.

    Args:
        config: of the whole model, which the companion folder keeps.
        settings: all options of the run, for its record.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        config: ModelConfig,
        *,
        options: RunOptions,
        training: TrainOptions,
        optimization: OptimizerOptions,
        adversarial: AdversarialOptions,
        settings: dict[str, Any],
    ) -> None:
        self.task, self.model, self.config, self.options = task, model.to(pick_device()), config, options
        self.training, self.optimization, self.adversarial = training, optimization, adversarial
        self.settings = settings
        self.precision = pick_precision(training.precision, model)

    def evaluate(self, examples: Examples, settled: bool = False) -> Metric:
        """The metric of the model as it stands; `settled` on the test file."""
        common = {"batch_size": self.training.batch_size, "precision": self.precision}
        return evaluate(self.model, self.task, examples, settled=settled, **common)

    def count(self, train: Any) -> int:
        """Number of training rows."""
        return len(train)

    def batches(self, train: Any) -> Batches:
        """The batches of the run."""
        return shuffled(self.task, train, self.training)

    def save(self, path: str | None = None) -> None:
        """Keep the model as it stands at `path`, or at `--output_model_path`."""
        path = path or self.options.output_model_path
        save_model(path, self.model, self.config, self.task.tokenizer, **self.task.saved())

    def fit(self, train: Any, dev: Any) -> Best:
        """Train and keep the best model; `train` and `dev` are what `batches` and `evaluate` take."""
        logger.info(f"Batch size: {self.training.batch_size}")
        logger.info(f"The number of training instances: {self.count(train)}")
        logger.info("Start training.")
        best = finetune(
            self.model,
            self.task,
            self.batches(train),
            options=self.options,
            training=self.training,
            optimization=self.optimization,
            adversarial=self.adversarial,
            precision=self.precision,
            score=lambda: self.evaluate(dev),
            save=self.save,
            folder=run_folder(self.options.output_model_path),
            settings=self.settings,
        )
        logger.info(
            f"The best model is that of epoch {best.epoch} (step {best.step}), score {best.score:.4f}: "
            f"{self.options.output_model_path}"
        )
        return best

    def test(self, examples: Examples) -> Metric:
        """Re-load the best model and report it on the test file."""
        logger.info("Test set evaluation.")
        merge_adapters(self.model)  # what was saved has them merged
        load_into(self.model, self.options.output_model_path, flag="--output_model_path")
        metric = self.evaluate(examples, settled=True)
        for line in metric.report():
            logger.info(line)
        return metric
