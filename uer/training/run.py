"""What every run of training has around the loop: optimiser, the figures it is held against, engine, log.

Pre-training and fine-tuning differ in what they save and what they evaluate; the rest is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from uer.config.training import DistributedOptions, OptimizerOptions, TrainOptions
from uer.data.batch import Batch
from uer.errors import ConfigError
from uer.training.adversarial import Attack
from uer.training.ema import WeightAverage
from uer.training.engines import build_engine
from uer.training.estimate import dry_run, estimate, machine, operations, settle_pieces
from uer.training.loop import Evaluating, Saving, fit
from uer.training.memory import recomputed
from uer.training.optimizers import build_optimizer
from uer.training.precision import Precision
from uer.training.report import Report
from uer.training.runlog import Machine, RunLog
from uer.training.schedulers import build_schedule
from uer.training.state import Checkpoint
from uer.training.trackers import open_trackers
from uer.training.windows import Windows
from uer.training.workers import Workers


@dataclass(frozen=True)
class Means:
    """What a run trains with, whatever it trains.

    Attributes:
        training, optimization, distribution: what the flags say.
        workers: the processes that train together.
        settings: all options of the run, which are part of its record.
    """

    training: TrainOptions
    optimization: OptimizerOptions
    workers: Workers
    distribution: DistributedOptions = field(default_factory=DistributedOptions)
    settings: dict[str, Any] = field(default_factory=dict)


class Run:
    """A model made ready to be trained.

    Args:
        model: on the device of the workers, holding the weights to start from.
        get_batch: number of a step, from 0 → its batch; a pure function.
        found: the checkpoint whose weights the model holds, when a run is resumed.
        line: makes the line of the log from a report.
        folder: where the record goes; None: there is none.
        facts: what the record says besides options, machine and precision.
        quiet: no line about batches and evaluations.

    Attributes:
        engine: holds the model's weights, and those of its optimiser as `found` has them.
        start: batches done before.
        progress: what the run had counted until then; None at the start.

    Raises:
        SystemExit: `--dry_run`: what the run would take has been said.
        ConfigError: options that do not go together with the engine, or with the model.
        EnvironmentFault: workers were told different things.
        CheckpointError: the optimiser's state in `found` is of another model.
    """

    def __init__(
        self,
        model: nn.Module,
        get_batch: Callable[[int], Batch],
        means: Means,
        *,
        precision: Precision,
        windows: Windows,
        found: Checkpoint | None,
        line: Callable[[Report], str],
        folder: Path | None,
        facts: dict[str, Any],
        quiet: bool = False,
    ) -> None:
        self.model, self.get_batch, self.means = model, get_batch, _in_pieces(means, found)
        self.precision, self.windows, self.quiet = precision, windows, quiet
        self.start = 0 if found is None else found.step
        self.progress = None if found is None else found.training["progress"]
        if means.training.gradient_checkpointing and not any(map(recomputed, model.modules())):
            raise ConfigError(
                "--gradient_checkpointing computes layers of transformers twice, and this model has none; "
                "leave it out, or type --micro_batches N to need less memory."
            )
        workers, optimizer = means.workers, build_optimizer(model, means.optimization)
        shapes = [(name, tuple(param.shape)) for name, param in model.named_parameters()]
        self._told = f"{means.settings} {facts} {self.start} {precision.name} {windows} {shapes}"
        self.training, machine = self._reckon(optimizer, recorded=folder is not None and workers.is_first)
        workers.agree("the run", self._told)
        self.engine = build_engine(model, optimizer, workers, means.distribution)
        if found is not None:
            found.load_optimizer(self.engine)
        self.log = RunLog(
            line,
            total=windows.total,
            folder=folder,
            start=self.start,
            quiet=quiet or not workers.is_first,
            machine=machine,
            trackers=open_trackers(
                means.training, folder, means.settings, start=self.start, first=workers.is_first
            ),
        )
        self.log.describe(means.settings, precision=precision.name, **facts)

    def chosen(self) -> dict[str, str]:
        """What was chosen for the run and a resumed one keeps, for its checkpoints."""
        return {"precision": self.precision.name, "micro_batches": self.training.micro_batches}

    def _reckon(
        self, optimizer: torch.optim.Optimizer, *, recorded: bool
    ) -> tuple[TrainOptions, Machine | None]:
        """As much of the estimate as this run needs, before an engine cuts the weights in pieces.

        Args:
            recorded: this worker writes the figures of speed.

        Returns:
            the options with `--micro_batches auto` made a number; what the figures are held against.
        """
        training, workers = self.means.training, self.means.workers
        device = workers.device
        if training.dry_run or training.micro_batches == "auto":
            cost = estimate(
                self.model,
                self.get_batch(0),
                self.precision,
                optimizer,
                device=device,
                recompute=training.gradient_checkpointing,
            )
            if training.dry_run:
                dry_run(cost, workers, self.means.optimization.optimizer)
            training = settle_pieces(training, cost, workers)
            return training, cost.machine(self.precision, workers.size)
        if not recorded:
            return training, None
        per_token = operations(self.model, self.get_batch(0), self.precision, device=device)
        return training, machine(per_token, self.precision, workers.size)

    def train(
        self,
        *,
        saving: Saving | None,
        evaluating: Evaluating | None,
        attack: Attack | None = None,
        average: WeightAverage | None = None,
    ) -> None:
        """All batches that are left; see `uer.training.loop.fit`, whose errors it raises."""
        optimization, workers = self.means.optimization, self.means.workers
        fit(
            self.model,
            self.get_batch,
            self.training,
            optimizer=self.engine.optimizer,
            schedule=build_schedule(optimization, self.windows.updates),
            windows=self.windows,
            precision=self.precision,
            log=self.log,
            saving=saving,
            evaluating=evaluating,
            attack=attack,
            average=average,
            workers=workers,
            engine=self.engine,
            max_grad_norm=optimization.max_grad_norm,
            start=self.start,
            progress=self.progress,
        )


def _in_pieces(means: Means, found: Checkpoint | None) -> Means:
    """A resumed run goes on with batches in as many pieces as it had."""
    if found is None:
        return means
    pieces = found.training.get("micro_batches", means.training.micro_batches)
    return replace(means, training=means.training.replace(micro_batches=pieces))
