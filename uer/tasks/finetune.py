"""Fine-tuning of any task: epochs of shuffled batches, an evaluation after each, the best model kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from uer.config.training import AdversarialOptions, OptimizerOptions, TrainOptions
from uer.data.order import BatchOrder
from uer.metrics import Metric, select
from uer.tasks.rows import Examples
from uer.training.adversarial import build_attack
from uer.training.loop import Evaluating, fit
from uer.training.optimizers import build_optimizer
from uer.training.precision import Precision
from uer.training.report import finetuning_line
from uer.training.runlog import RunLog
from uer.training.schedulers import build_schedule
from uer.training.windows import Windows
from uer.training.workers import Workers
from uer.utils.logging import logger

LIKE = 8
"""rows whose lengths fall into the same stretch of so many ids count as equally long: batches stay mixed"""


@dataclass
class Best:
    """The best evaluation so far.

    Attributes:
        score: of the selecting metric; below all numbers until there is one.
        epoch: the epoch it was reached in, from 1.
        scores: all scores of that evaluation.
    """

    score: float = -math.inf
    epoch: int = 0
    scores: dict[str, float] = field(default_factory=dict)

    def take(self, epoch: int, scores: dict[str, float], name: str | None) -> bool:
        """Whether an evaluation is strictly better than all before; then it is the best."""
        score = select(scores, name)
        if not score > self.score:
            return False
        self.score, self.epoch, self.scores = score, epoch, dict(scores)
        return True


def finetune(
    model: nn.Module,
    task: Any,
    train: Examples,
    *,
    epochs_num: int,
    training: TrainOptions,
    optimization: OptimizerOptions,
    adversarial: AdversarialOptions,
    precision: Precision,
    evaluate: Callable[[], Metric],
    save: Callable[[], None] | None = None,
    best_metric: str | None = None,
    run_folder: Path | None = None,
    settings: dict[str, Any] | None = None,
    quiet: bool = False,
) -> Best:
    """Train a model and keep the best of its epochs.

    Args:
        model: gives terms for `model(inputs, labels)`.
        task: makes batches by `collate(examples, rows)`.
        evaluate: the metric of the model as it stands, on the development file.
        save: keeps the model as it stands; called whenever an epoch is strictly better than all before.
        run_folder, settings: where the run's record goes, and all options, which are part of it.
        quiet: no line about batches and epochs (trials of a search).
    """
    order = BatchOrder(
        len(train),
        training.batch_size,
        seed=training.seed,
        ends="keep",
        lengths=np.ceil(train.lengths / LIKE).astype(np.int64),
    )
    period = order.steps_per_epoch
    windows = Windows(period * epochs_num, training.accumulation_steps, period=period)
    log = RunLog(finetuning_line(period), total=windows.total, folder=run_folder, quiet=quiet)
    log.describe(settings or {}, precision=precision.name)
    best = Best()

    def after_epoch(step: int) -> None:
        metric = evaluate()
        scores = metric.scores()
        for line in metric.report():
            log.say("%s", line)
        log.record({"step": step, "epoch": step // period, **{f"dev_{k}": v for k, v in scores.items()}})
        if best.take(step // period, scores, best_metric) and save is not None:
            save()

    fit(
        model,
        lambda step: task.collate(train, order.batch(step)),
        training,
        optimizer=build_optimizer(model, optimization),
        schedule=build_schedule(optimization, windows.updates),
        windows=windows,
        precision=precision,
        log=log,
        evaluating=Evaluating(after_epoch, period),
        attack=build_attack(model, adversarial),
        workers=Workers(next(model.parameters()).device),
        max_grad_norm=optimization.max_grad_norm,
    )
    if not best.epoch and save is not None:
        logger.warning("No epoch had a score that is a number, so none is the best; the last one is saved.")
        save()
    return best
