"""Fine-tuning of any task: shuffled batches, evaluations, the best model kept, re-loaded and tested."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import nn

from uer.checkpoints import load_into, read_state, write_state
from uer.config.finetune import RunOptions
from uer.config.model import ModelConfig
from uer.config.training import AdversarialOptions, DistributedOptions, OptimizerOptions, TrainOptions
from uer.data.batch import Batch
from uer.data.order import BatchOrder
from uer.errors import ConfigError
from uer.metrics import Metric, select
from uer.models.adapters import merge_adapters
from uer.tasks.predict import evaluate
from uer.tasks.resuming import Resuming
from uer.tasks.rows import Examples
from uer.tasks.setup import pick_precision, save_model
from uer.training.adversarial import build_attack
from uer.training.devices import choose_workers
from uer.training.engines import build_engine
from uer.training.engines.base import Tensors
from uer.training.estimate import dry_run, estimate, settle_pieces
from uer.training.loop import Evaluating, Saving, fit
from uer.training.optimizers import build_optimizer
from uer.training.precision import Precision
from uer.training.report import finetuning_line
from uer.training.runlog import RunLog, run_folder
from uer.training.saving import Writer
from uer.training.schedulers import build_schedule
from uer.training.trackers import open_trackers
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

    def enough(self, scores: dict[str, float]) -> bool:
        """Take in an evaluation; whether it is one too many."""
        score = select(scores, self.metric)
        self.waited = 0 if score > self.best else self.waited + 1
        self.best = max(self.best, score) if not math.isnan(score) else self.best
        return self.waited >= self.limit


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
        rows = order.batch(step)
        if len(rows):
            return task.collate(train, rows)
        return task.collate(train, order.global_batch(step)[:1]).idle()

    return Batches(order.steps_per_epoch, get)


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
    save: Callable[[Tensors | None], None] | None = None,
    workers: Workers | None = None,
    distribution: DistributedOptions | None = None,
    resuming: Resuming | None = None,
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
        save: keeps the model as it stands; called by the first worker whenever an evaluation is better than
            all before, with the weights where no worker has them whole.
        workers, distribution: the processes that train together, and how the weights lie over them.
        resuming: where checkpoints go, and the one whose weights the model holds.
        folder, settings: where the run's record goes, and all options, which are part of it.
        eval_steps: evaluate every so many batches, whatever the options say.
        quiet: no line about batches and evaluations (trials of a search).
    """
    period = batches.period
    windows = Windows(period * options.epochs_num, training.accumulation_steps, period=period)
    workers = workers or Workers(next(model.parameters()).device)
    found = None if resuming is None else resuming.found
    start = 0 if found is None else found.step
    optimizer, machine = build_optimizer(model, optimization), None
    if folder is not None or training.dry_run or training.micro_batches == "auto":
        cost = estimate(
            model,
            batches.get(0),
            precision,
            optimizer,
            device=precision.device,
            recompute=training.gradient_checkpointing,
        )
        if training.dry_run:
            dry_run(cost, precision.device, optimization.optimizer)
        training, machine = settle_pieces(training, cost, precision.device), cost.machine(precision)
    log = RunLog(
        finetuning_line(period),
        total=windows.total,
        folder=folder,
        start=start,
        quiet=quiet or not workers.is_first,
        machine=machine,
        trackers=open_trackers(training, folder, settings or {}),
    )
    data = {
        "rows of a batch": training.batch_size,
        "batches of an epoch": period,
        "epochs": options.epochs_num,
    }
    log.describe(settings or {}, precision=precision.name, data=data)
    best, patience = Best(), None if options.patience is None else _Patience(*options.patience)
    for name in (options.best_metric, patience and patience.metric):
        select(task.metric().scores(), name)  # a wrong name ends the run here and not after an epoch

    engine = build_engine(
        model,
        optimizer,
        workers,
        distribution or DistributedOptions(),
        optimizer_name=optimization.optimizer,
        needs_whole=_whole(options, adversarial),
    )
    if found is not None:
        found.load_optimizer(engine)
        best = Best(**found.training["progress"]["best"])
        if patience is not None:
            patience.best, patience.waited = found.training["progress"]["patience"]

    def keep() -> None:
        weights = None if engine.whole else engine.weights()
        if workers.is_first:
            save(weights)

    def evaluation(step: int) -> None:
        metric, epoch = score(), math.ceil(step / period)
        scores = metric.scores()
        for line in metric.report():
            log.say("%s", line)
        log.record({"step": step, "epoch": epoch, **{f"dev_{name}": x for name, x in scores.items()}})
        better = best.take(scores, options.best_metric, epoch=epoch, step=step)
        if workers.first_says(better) and save is not None:
            keep()
        if patience is not None and workers.first_says(patience.enough(scores)):
            raise _EnoughError

    def counters() -> dict[str, Any]:
        return {"best": asdict(best), "patience": patience and [patience.best, patience.waited]}

    workers.agree("the run", f"{settings} {training} {start} {precision.name} {period}")
    writer, saving = Writer(), None
    if resuming is not None and (every := resuming.every(period)) is not None:
        saving = Saving(resuming.saver(engine, writer, precision.name, counters), every)
    try:
        with writer:
            fit(
                model,
                batches.get,
                training,
                optimizer=engine.optimizer,
                schedule=build_schedule(optimization, windows.updates),
                windows=windows,
                precision=precision,
                log=log,
                evaluating=Evaluating(evaluation, eval_steps or options.eval_steps or period),
                attack=build_attack(model, adversarial),
                saving=saving,
                workers=workers,
                engine=engine,
                max_grad_norm=optimization.max_grad_norm,
                start=start,
                progress=found and found.training["progress"],
            )
    except _EnoughError:
        log.say("No better score in %d evaluations (--early_stopping): training ends here.", patience.limit)
    if not best.epoch and save is not None:
        logger.warning(
            "No evaluation had a score that is a number, so none is the best; the last one is saved."
        )
        keep()
    return best


def _whole(options: RunOptions, adversarial: AdversarialOptions) -> str | None:
    """A flag that needs all weights in one place."""
    if getattr(options, "peft", None) is not None:
        return "--peft"
    return "--use_adv" if adversarial.use_adv else None


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
        self.distribution = distribution or DistributedOptions()
        self.workers = choose_workers(self.distribution, announce=False)
        if self.workers.size > 1 and getattr(model, "compares_rows", False):
            raise ConfigError(
                "this model compares the rows of a batch with one another, so workers cannot share a batch; "
                "leave --world_size out."
            )
        self.task, self.config, self.options = task, config, options
        self.model = model.to(self.workers.device)
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
        return shuffled(self.task, train, self.training, self.workers)

    def save(self, path: str | None = None, weights: Tensors | None = None) -> None:
        """Keep the model as it stands (or these weights) at `path`, or at `--output_model_path`."""
        if not self.workers.is_first:
            return
        path, about = path or self.options.output_model_path, self.task.saved()
        if weights is None:
            save_model(path, self.model, self.config, self.task.tokenizer, **about)
        else:
            write_state(path, weights, config=self.config, tokenizer=self.task.tokenizer, **about)

    def resuming(self, path: str | None = None) -> Resuming:
        """The checkpoints of the run that ends at `path`; the model takes the weights of the one found."""
        path = path or self.options.output_model_path
        found = Resuming(path, self.options, self.settings, self.workers, self.training.batch_size)
        if found.found is not None:
            self.model.load_state_dict(read_state(found.found.path, "--resume"))
            self.precision = Precision(found.found.training["precision"], self.workers.device)
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
            options=self.options,
            training=self.training,
            optimization=self.optimization,
            adversarial=self.adversarial,
            precision=self.precision,
            score=lambda: self.evaluate(dev),
            save=lambda weights: self.save(weights=weights),
            workers=self.workers,
            distribution=self.distribution,
            resuming=resuming,
            folder=run_folder(self.options.output_model_path),
            settings=self.settings,
        )
        resuming.finish(asdict(best))
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
