"""Fine-tuning of any task: shuffled batches, evaluations, the best model kept, re-loaded and tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import nn

from uer.checkpoints import load_into, read_state
from uer.config.finetune import RunOptions
from uer.config.model import ModelConfig
from uer.config.training import AdversarialOptions, DistributedOptions, OptimizerOptions, TrainOptions
from uer.data.batch import Batch
from uer.data.order import BatchOrder
from uer.embeddings.parts import positions_limit
from uer.errors import ConfigError
from uer.metrics import Metric, select
from uer.models.adapters import merge_adapters, unmerged_state
from uer.models.sides import check_length
from uer.tasks.evaluations import Best, Evaluations, Patience
from uer.tasks.predict import evaluate
from uer.tasks.resuming import Resuming
from uer.tasks.rows import Examples
from uer.tasks.setup import inherited, pick_precision, save_model, twin
from uer.training.adversarial import build_attack
from uer.training.devices import choose_workers
from uer.training.engines.base import Engine, Tensors
from uer.training.precision import Precision, choose_precision
from uer.training.report import finetuning_line
from uer.training.run import Means, Run
from uer.training.runlog import late_result, run_folder
from uer.training.saving import Writer
from uer.training.windows import Windows
from uer.training.workers import Workers
from uer.utils.logging import logger

LIKE = 8
"""rows whose lengths fall into the same stretch of so many ids count as equally long: batches stay mixed"""


class Task(Protocol):
    """What the file of a task offers to training and evaluation."""

    name: str
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


class Batches(NamedTuple):
    """The batches of a run."""

    period: int
    """batches of an epoch"""
    get: Callable[[int], Batch]
    """number of a step, from 0 → its batch; a pure function"""


def shuffled(task: Task, train: Examples, training: TrainOptions, workers: Workers | None = None) -> Batches:
    """All examples in a new order each epoch, rows of like length together; each worker has its share of a
    batch.
    """
    order = BatchOrder(
        len(train),
        training.batch_size,
        seed=training.seed,
        ends="keep",
        lengths=np.ceil(train.lengths / LIKE).astype(np.int64),
        rank=workers.rank if workers else 0,
        world_size=workers.size if workers else 1,
    )

    def get(step: int) -> Batch:
        """The batch of a step; one that is not counted where this worker has no row."""
        rows = order.batch(step)
        if len(rows):
            return task.collate(train, rows)
        return task.collate(train, order.global_batch(step)[:1]).idle()

    return Batches(order.steps_per_epoch, get)


def finetune(
    model: nn.Module,
    task: Task,
    batches: Batches,
    means: Means,
    *,
    options: RunOptions,
    adversarial: AdversarialOptions,
    precision: Precision,
    score: Callable[[], Metric],
    save: Callable[[Tensors | None], None] | None = None,
    started: Callable[[Engine], None] | None = None,
    resuming: Resuming | None = None,
    eval_steps: int | None = None,
    quiet: bool = False,
) -> Best:
    """Train a model and keep the best of its evaluations.

    Args:
        model: gives terms for `model(inputs, labels)`, and `predict(inputs)`.
        batches: see `shuffled`.
        score: the metric of the model as it stands, on the development file.
        save: keeps the model as it stands; called by the first worker whenever an evaluation is better than
            all before, with the weights where no worker has them whole.
        started: is told how the weights lie from now on.
        resuming: where record and checkpoints go, and the one whose weights the model holds; None: nowhere.
        eval_steps: evaluate every so many batches, whatever the options say.
        quiet: no line about batches and evaluations (trials of a search).
    """
    period, patience = batches.period, patience_of(task, options)
    run = Run(
        model,
        batches.get,
        means,
        precision=precision,
        windows=Windows(period * options.epochs_num, means.training.accumulation_steps, period=period),
        found=None if resuming is None else resuming.found,
        line=finetuning_line(period),
        folder=None if resuming is None else resuming.folder,
        facts=_facts(means, period, options),
        quiet=quiet,
    )
    if started is not None:
        started(run.engine)
    evaluations = Evaluations(run, period, options.best_metric, score, save, patience)
    every, attack = eval_steps or options.eval_steps or period, build_attack(model, adversarial, run.engine)
    with Writer() as writer:
        saving = None if resuming is None else resuming.saving(run, period, writer, evaluations.counters)
        return evaluations.train(every, saving=saving, attack=attack)


def patience_of(task: Task, options: RunOptions) -> Patience | None:
    """What `--early_stopping` counts by; a wrong name of a metric ends the run here, not after an epoch.

    Raises:
        ConfigError: the task has no such score.
    """
    patience = None if options.patience is None else Patience(*options.patience)
    scores = task.metric().scores()
    select(scores, options.best_metric)
    select(scores, patience and patience.metric, "--early_stopping")
    return patience


def _facts(means: Means, period: int, options: RunOptions) -> dict[str, Any]:
    """What the record says of the data."""
    rows = means.training.batch_size
    return {
        "data": {"rows of a batch": rows, "batches of an epoch": period, "epochs": options.epochs_num},
    }


def _check_whole_batches(training: TrainOptions) -> None:
    """The loss of a row depends on all others of its batch, so they are computed together.

    Raises:
        ConfigError: a batch would be computed in pieces.
    """
    if training.micro_batches != "1":
        raise ConfigError(
            "this model compares the rows of a batch with one another, so it cannot be computed in pieces; "
            "leave --micro_batches (and --batch_size auto) out."
        )


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
        distribution: DistributedOptions | None = None,
    ) -> None:
        distribution = distribution or DistributedOptions()
        self.workers = choose_workers(distribution, announce=False)
        if getattr(model, "compares_rows", False):
            _check_whole_batches(training)
        self.task, self.config, self.options = task, config, options
        self.inherited = inherited(options.pretrained_model_path)
        self.model = model.to(self.workers.device)
        self.training, self.adversarial = training, adversarial
        self.means = Means(training, optimization, self.workers, distribution, settings)
        self.precision = pick_precision(training.precision, model)
        self.engine: Engine | None = None

    def evaluate(self, examples: Examples, settled: bool = False) -> Metric:
        """The metric of the model as it stands; `settled` on the test file."""
        common = {"batch_size": self.training.batch_size, "precision": self.precision}
        return evaluate(self.model, self.task, examples, settled=settled, **common)

    def count(self, train: Any) -> int:
        """Number of training rows."""
        return len(train)

    def batches(self, train: Any) -> Batches:
        """The batches of the run."""
        return shuffled(self.task, train, self.training, self.workers)

    def save(self, path: str | None = None, weights: Tensors | None = None, **further: Any) -> None:
        """Keep the model as it stands (or these weights) at `path`, or at `--output_model_path`; `further`:
        what else its companion is to say.
        """
        if not self.workers.is_first:
            return
        path, about = path or self.options.output_model_path, self.task.saved()
        about["extra"] = {**self.inherited, **about["extra"], **further}
        save_model(path, self.model, self.config, self.task.tokenizer, weights=weights, **about)

    def resuming(self, path: str | None = None) -> Resuming:
        """The checkpoints of the run that ends at `path`; the model takes the weights of the one found."""
        path = path or self.options.output_model_path
        found = Resuming(path, self.options, self.means)
        if found.found is not None:
            self.model.load_state_dict(read_state(found.found.path, "--resume"))
            kept = found.found.training["precision"]
            self.precision, _ = choose_precision(kept, self.workers.device, self.config.hidden_size)
        return found

    def fit(self, train: Any, dev: Any) -> Best:
        """Train and keep the best model; `train` and `dev` are what `batches` and `evaluate` take."""
        logger.info(f"Batch size: {self.training.batch_size}")
        logger.info(f"The number of training instances: {self.count(train)}")
        resuming = self.resuming()
        if resuming.finished is not None:
            return Best(**resuming.finished)
        logger.info("Start training.")
        best = finetune(
            self.model,
            self.task,
            self.batches(train),
            self.means,
            options=self.options,
            adversarial=self.adversarial,
            precision=self.precision,
            score=lambda: self.evaluate(dev),
            save=lambda weights: self.save(weights=weights),
            started=self._take,
            resuming=resuming,
        )
        resuming.finish(asdict(best))
        logger.info(
            f"The best model is that of epoch {best.epoch} (step {best.step}), score {best.score:.4f}: "
            f"{self.options.output_model_path}"
        )
        return best

    def run(self) -> None:
        """Read the files of the options, all before the first step; train, and report the best model on the
        test file."""
        options, read = self.options, self.task.read
        scored = [options.dev_path, *([options.test_path] if options.test_path else [])]
        train, (dev, *test) = read(options.train_path, training=True), [read(path) for path in scored]
        for examples in (train, dev, *test):  # now, and not when the longest row comes
            check_length(
                int(examples.lengths.max(initial=0)), positions_limit(self.model.embedding), "--seq_length"
            )
        self.fit(train, dev)
        for examples in test:
            self.test(examples)
        self.close()

    def close(self) -> None:
        """Say what was written, and what can be typed next."""
        if self.workers.is_first:
            path, task = self.options.output_model_path, self.task.name
            out = "--vectors_path" if task == "simcse" else "--prediction_path"
            logger.info(f"The report is {run_folder(path) / 'report.html'}. To predict, type:")
            logger.info(f"python3 {twin(task)} --load_model_path {path} --test_path FILE {out} FILE")

    def _take(self, engine: Engine) -> None:
        self.engine = engine

    def _reload(self) -> None:
        """The model takes the weights of the best one, in which adapters are merged."""
        path, flag = self.options.output_model_path, "--output_model_path"
        if self.engine is None or self.engine.whole:
            merge_adapters(self.model)
            load_into(self.model, path, flag=flag)
        else:
            self.engine.load_weights(unmerged_state(self.model, read_state(path, flag)))

    def test(self, examples: Examples) -> Metric:
        """Re-load the best model and report it on the test file."""
        logger.info("Test set evaluation.")
        self._reload()
        metric = self.evaluate(examples, settled=True)
        for line in metric.report():
            logger.info(line)
        if self.workers.is_first:
            late_result(run_folder(self.options.output_model_path), "Test", metric)
        return metric
