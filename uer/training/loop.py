"""The one training loop: forward, backward, clip, step, report, save. It knows nothing of tasks.

A window of `accumulation_steps` batches is one update. Each term's loss is divided by the number of its
predictions over the whole window and all workers, so the same rows give the same gradient however they
are cut into batches. Random numbers (dropout) are a function of (seed, window, worker), so resuming
needs no generator state.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from uer.config.training import TrainOptions
from uer.data.batch import Batch
from uer.data.random import generator
from uer.errors import UerError
from uer.layers import kernels
from uer.targets.term import Term
from uer.training.adversarial import Attack
from uer.training.ema import WeightAverage
from uer.training.engines.base import Engine
from uer.training.memory import FreedMemory, keep_freed_memory, out_of_memory, recompute_layers
from uer.training.precision import Precision
from uer.training.report import Meter, Report, Stopwatch
from uer.training.runlog import RunLog
from uer.training.schedulers import Schedule
from uer.training.stop import StopRequest, listen
from uer.training.windows import Span, TensorBatch, Window, Windows, due, fetch
from uer.training.workers import Workers

NAMED_INSTANCES = 16  # how many a message names


class Saving(NamedTuple):
    """How the run is saved, and after how many batches (at the next end of a window)."""

    save: Callable[[int, dict[str, Any]], None]
    """batches done, and counters that `fit` wants back as `progress` when it goes on from there; called on
    every worker"""
    every: int


class Evaluating(NamedTuple):
    """How the model is evaluated, and after how many batches (at the next end of a window)."""

    evaluate: Callable[[int], None]
    """batches done; called on every worker"""
    every: int


def fit(
    model: nn.Module,
    get_batch: Callable[[int], Batch],
    options: TrainOptions,
    *,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    windows: Windows,
    precision: Precision,
    log: RunLog,
    saving: Saving | None = None,
    evaluating: Evaluating | None = None,
    attack: Attack | None = None,
    average: WeightAverage | None = None,
    workers: Workers | None = None,
    engine: Engine | None = None,
    max_grad_norm: float = 1.0,
    start: int = 0,
    progress: dict[str, Any] | None = None,
) -> None:
    """Train a model.

    Args:
        model: called as `model(inputs, labels)`, gives `dict[str, Term]`.
        get_batch: number of a step (from 0) → its batch; a pure function, called in a thread.
        optimizer: see `uer.training.optimizers`; its groups' `lr_scale`, where there is one, scales the
            rate.
        schedule, windows: the rate as a function of the updates done; which batches an update takes.
        log: takes the reports; closed at the end.
        attack: adversarial passes after those of each window.
        average: takes in the weights after each update.
        engine: how weights lie over the workers, built of this model and optimiser; None: whole on each.
        max_grad_norm: gradients of a window are scaled down to this norm; 0: never.
        start, progress: batches done before, and what `saving` was given then.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was trained is saved first.
        UerError: `--max_bad_steps` updates in a row had no finite loss and gradient, or the weights are not
            finite when they should be saved.
    """
    workers = workers or Workers()
    loop = _Loop(
        engine=engine or Engine(model, optimizer, workers),
        options=options,
        schedule=schedule,
        precision=precision,
        log=log,
        total=windows.total,
        saving=saving,
        evaluating=evaluating,
        attack=attack,
        average=average,
        workers=workers,
        max_grad_norm=max_grad_norm,
        done=start,
    )
    loop.resume(progress or {})
    loop.train(get_batch, windows.after(start))


class _Verdict(NamedTuple):
    """Whether an update was skipped (1), readable when `ready`; and of which window it was."""

    flag: Tensor
    ready: Any
    window: Window


@dataclass
class _Loop:
    """The state of a run, and its steps in the order in which they happen."""

    engine: Engine
    options: TrainOptions
    schedule: Schedule
    precision: Precision
    log: RunLog
    total: int
    saving: Saving | None
    evaluating: Evaluating | None
    attack: Attack | None
    average: WeightAverage | None
    workers: Workers
    max_grad_norm: float
    done: int
    saved: int = -1
    skipped: int = 0
    bad_in_a_row: int = 0
    rate: float = 0.0
    norm: Tensor = field(default_factory=lambda: torch.zeros(()))
    meter: Meter = field(default_factory=Meter)
    freed: FreedMemory = field(default_factory=FreedMemory)
    watch: Stopwatch = field(default_factory=Stopwatch)
    verdicts: deque[_Verdict] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.model, self.optimizer = self.engine.model, self.engine.optimizer
        self.base_rates = [group.get("lr_scale", 1.0) for group in self.optimizer.param_groups]
        self.saved = self.done

    def resume(self, progress: dict[str, Any]) -> None:
        """Take over what the saved run had counted."""
        self.skipped = progress.get("skipped", 0)
        self.bad_in_a_row = progress.get("bad_in_a_row", 0)
        self.precision.load(progress.get("loss_scale", {}))

    def train(self, get_batch: Callable[[int], Batch], spans: Iterator[Span]) -> None:
        """Fetch these windows and work on them; the log is closed whatever happens."""
        device = self.workers.device
        if device.type == "cpu":
            keep_freed_memory()
        recompute_layers(self.model, self.options.gradient_checkpointing)
        pieces = int(self.options.micro_batches)
        several = self.workers.size > 1
        fetched = fetch(get_batch, spans, pin=device.type == "cuda", pieces=pieces, fill=several)
        try:
            with listen() as stop, closing(fetched):
                self.run(fetched, stop)
        except RuntimeError as error:
            explained = out_of_memory(error, device) or self.workers.explained(error)
            if explained is error:
                raise
            raise explained from error
        finally:
            self.workers.finished()
            self.log.close()

    def run(self, windows: Any, stop: StopRequest) -> None:
        """All windows, until the end or until a stop is asked for."""
        self.model.train()
        first, stopped = True, False
        for window in windows:
            self.workers.alive()
            if first:
                self.compare(window)
            stopped = not self.backward(window, stop)
            if stopped:
                break
            self.update(window)
            self.freed.update()
            self.done = window.span.last
            self.judge(wait=False)
            if first:
                self.log.say("Attention: %s.", kernels.chosen())
                first = False
            self.after(window.span)
        self.judge(wait=True)
        if stopped:
            self.interrupt()

    def compare(self, window: Window) -> None:
        """The first window must be of one kind on all workers, and no two may have the same rows."""
        self.workers.agree("the kind of the first batch", f"{[*window.counts]} {len(window.batches)}")
        self.workers.check_ids([number for batch in window.batches for number in batch.ids])

    def seed(self, span: Span) -> None:
        """Random numbers of this window."""
        number = int(generator(self.options.seed, "window", span.index, self.workers.rank).integers(2**63))
        torch.manual_seed(number)
        np.random.seed(number % 2**32)
        random.seed(number)

    def backward(self, window: Window, stop: StopRequest) -> bool:
        """Gradients of the window's loss; False when a stop was asked for half-way (nothing changed then)."""
        self.seed(window.span)
        self.engine.clear()
        weights = self.weights(window, stop)
        if weights is None:
            return False
        self.loss = torch.zeros((), device=self.workers.device)
        for number, batch in enumerate(window.batches):
            if stop.made and self.workers.size == 1:
                return False
            self.one_pass(batch, weights, last=number == len(window.batches) - 1, counted=True)
        if self.attack is not None:
            self.attack(lambda: self.all_passes(window, weights))
        return True

    def weights(self, window: Window, stop: StopRequest) -> dict[str, float] | None:
        """For each term, one over the number of its predictions in this window, of all workers.

        None when any of the workers was asked to stop: all of them learn it here, at the same window.
        """
        counts = window.counts
        values = torch.tensor([*counts.values(), stop.made], dtype=torch.float64)
        *total, stops = self.workers.sum(values).tolist()
        # A distributed engine takes the mean of the gradients over its workers, hence their number.
        weights = {name: self.workers.size / max(1.0, count) for name, count in zip(counts, total)}
        return None if stops else weights

    def all_passes(self, window: Window, weights: dict[str, float]) -> None:
        """The window once more, for an attack."""
        for number, batch in enumerate(window.batches):
            self.one_pass(batch, weights, last=number == len(window.batches) - 1, counted=False)

    def one_pass(self, batch: TensorBatch, weights: dict[str, float], *, last: bool, counted: bool) -> None:
        """Forward and backward of one batch."""
        batch = batch.to(self.workers.device)
        if last:
            self._pass(batch, weights, counted, last)
        else:
            with self.engine.hold_gradients():
                self._pass(batch, weights, counted, last)

    def _pass(self, batch: TensorBatch, weights: dict[str, float], counted: bool, last: bool) -> None:
        with self.precision.autocast(), self.workers.comparing(bool(batch.live)):
            terms: dict[str, Term] = self.engine.module(batch.inputs, batch.labels)
            if not batch.live:
                terms = {name: Term(*(x * 0 for x in term[:3]), term.weight) for name, term in terms.items()}
            loss = sum(term.loss_sum * (weights[name] * term.weight) for name, term in terms.items())
        self.engine.backward(self.precision.scaled(loss), last=last)
        self.loss += loss.detach()
        if counted:
            self.meter.add(terms, batch.positions * batch.live, batch.tokens * batch.live)

    def update(self, window: Window) -> None:
        """Clip and step, unless loss or gradient are not finite; the schedule goes on either way."""
        self.rate = self.schedule.rate(window.span.index)
        for group, share in zip(self.optimizer.param_groups, self.base_rates):
            group["lr"] = self.rate * share
        self.norm, found_inf = self.engine.step(
            self.loss, scale=self.precision.scale, max_norm=self.max_grad_norm
        )
        if self.average is not None:
            self.average.update(window.span.index, found_inf)
        self.precision.adjust(found_inf)
        self.expect(found_inf, window)

    def expect(self, flag: Tensor, window: Window) -> None:
        """Have the flag of an update read when it is there, without waiting for a GPU."""
        ready = None
        if flag.device.type == "cuda":
            flag = torch.empty(1, pin_memory=True).copy_(flag, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        self.verdicts.append(_Verdict(flag, ready, window))

    def judge(self, *, wait: bool) -> None:
        """Count and say skipped updates; on a GPU the newest one is left for the next time unless `wait`."""
        while self.verdicts and (wait or self.verdicts[0].ready is None or len(self.verdicts) > 1):
            verdict = self.verdicts.popleft()
            if verdict.ready is not None:
                verdict.ready.synchronize()
            if not float(verdict.flag):
                self.bad_in_a_row = 0
                continue
            self.skipped += 1
            self.bad_in_a_row += 1
            self.log.say(
                "Step %d: loss or gradient is not finite; this update is skipped (%d so far, %d in a row).",
                verdict.window.span.last,
                self.skipped,
                self.bad_in_a_row,
            )
            if self.bad_in_a_row >= self.options.max_bad_steps:
                raise UerError(self.diagnosis(verdict.window))

    def diagnosis(self, window: Window) -> str:
        """Why the run is given up."""
        ids = self.workers.of_all([int(number) for batch in window.batches for number in batch.ids])
        named = ", ".join(map(str, ids[:NAMED_INSTANCES]))
        if len(ids) > NAMED_INSTANCES:
            named += f" and {len(ids) - NAMED_INSTANCES} more"
        return (
            f"{self.bad_in_a_row} updates in a row had no finite loss and gradient (--max_bad_steps), the "
            f"last at step {window.span.last} on instances {named}; lower --learning_rate, or look at these "
            "instances. Nothing that is not finite was saved."
        )

    def after(self, span: Span) -> None:
        """What happens at the end of a window: progress, report, evaluation, checkpoint."""
        last = self.done == self.total
        self.log.advance(self.done)
        if due(span, self.options.report_steps) or last:
            self.report()
        self.watch.pause()
        if self.evaluating is not None and (due(span, self.evaluating.every) or last):
            self.judge(wait=True)
            with self.workers.unwatched(), self.engine.evaluating():
                self.evaluating.evaluate(self.done)
            self.model.train()
        if self.saving is not None and (due(span, self.saving.every) or last):
            with self.workers.unwatched():
                self.save()
        self.watch.go_on()

    def report(self) -> None:
        """Hand over the figures since the report before."""
        self.judge(wait=True)
        meter, self.meter = self.meter, Meter()
        terms, positions, tokens = meter.totals(self.workers)
        self.log.report(
            Report(
                step=self.done,
                total=self.total,
                batches=meter.batches,
                terms=terms,
                seconds=self.watch.read(),
                positions=positions,
                tokens=tokens,
                rate=self.rate,
                gradient_norm=float(self.norm),
                skipped=self.skipped,
            )
        )

    def save(self) -> None:
        """A checkpoint of this moment."""
        self.judge(wait=True)
        self.engine.check_finite(self.done)
        progress = {
            "skipped": self.skipped,
            "bad_in_a_row": self.bad_in_a_row,
            "loss_scale": self.precision.state(),
        }
        self.saving.save(self.done, progress)
        self.saved = self.done

    def interrupt(self) -> None:
        """Save what was done, then stop."""
        if self.saving is not None and self.done > self.saved:
            self.save()
        self.log.say("Stopped after %d of %d steps.", self.done, self.total)
        raise KeyboardInterrupt
