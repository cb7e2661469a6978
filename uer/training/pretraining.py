"""A run of pre-training: what it saves, and what it says of held-out text, around `uer.training.run`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from uer.config.training import PretrainOptions
from uer.data.batch import Batch
from uer.models.model import Model
from uer.training.ema import WeightAverage
from uer.training.engines.base import Tensors
from uer.training.heldout import evaluate, held_out_line, held_out_record
from uer.training.loop import Evaluating, Saving
from uer.training.precision import Precision, choose_precision
from uer.training.report import pretraining_line
from uer.training.run import Means, Run
from uer.training.runlog import run_folder
from uer.training.saving import Snapshot, Writer, chosen_here
from uer.training.state import Checkpoint, Checkpoints
from uer.training.windows import Windows


@dataclass
class Pretraining:
    """What pre-training does at the ends of windows.

    Attributes:
        run: the model, ready to be trained.
        checkpoints: where they go.
        write_weights: writes weights of the model, with its companion.
        about: what checkpoints say of the run: `options` (all effective ones) and `dataset` (fingerprint).
        held_out: the batches of held-out text, or None.
        average: the running mean of the weights, or None.
        writer: writes while training goes on.
        seen: the step of the last look at the held-out text, and its loss.
    """

    run: Run
    checkpoints: Checkpoints
    write_weights: Callable[[Path, Tensors], None]
    about: dict[str, Any]
    held_out: Callable[[], Iterator[Batch]] | None
    average: WeightAverage | None
    writer: Writer = field(default_factory=Writer)
    seen: tuple[int, float] = (-1, 0.0)

    def save(self, step: int, progress: dict[str, Any]) -> None:
        """A checkpoint of this moment, written in the background; every worker must call it."""
        run = self.run
        snapshot = Snapshot.take(run.engine, self.average)
        state = {**self.about, **chosen_here(), **run.chosen(), "progress": progress}
        if self.seen[0] == step:
            state["held_out_loss"] = self.seen[1]
        write = partial(
            self.checkpoints.save,
            step,
            write_weights=self.write_weights,
            snapshot=snapshot,
            training=state,
        )
        if run.means.workers.is_first:
            self.writer.submit(lambda: run.log.say("Saved %s.", write()))

    def look(self, step: int) -> None:
        """Say and record what the model makes of the held-out text."""
        run = self.run
        with self.average.applied() if self.average is not None else contextlib.nullcontext():
            terms = evaluate(
                run.engine.module, self.held_out(), precision=run.precision, device=run.means.workers.device
            )
        record = held_out_record(step, terms)
        self.seen = step, record["eval_loss"]
        run.log.say("%s", held_out_line(step, terms))
        run.log.record(record)

    def train(self, files: PretrainOptions, found: Checkpoint | None) -> Path:
        """All steps that are left after `found`.

        Returns:
            the last checkpoint.
        """
        run, workers = self.run, self.run.means.workers
        if run.start >= run.windows.total:
            run.log.say(
                "The run of %d steps is finished; raise --total_steps to go on from %s.",
                run.windows.total,
                found.path,
            )
            return found.path
        run.log.say("Worker %sis training ... ", f"{workers.rank} " if workers.size > 1 else "")
        with self.writer:
            run.train(
                saving=Saving(self.save, files.save_checkpoint_steps),
                evaluating=None if self.held_out is None else Evaluating(self.look, files.eval_steps),
                average=self.average,
            )
        best = self.checkpoints.best()
        if best is not None:
            run.log.say("The checkpoint that is best on held-out text is %s.", best)
        run.log.say("The report is %s.", run_folder(self.checkpoints.name) / "report.html")
        return self.checkpoints.path(run.windows.total)


def pretrain(
    model: Model,
    get_batch: Callable[[int], Batch],
    means: Means,
    *,
    total_steps: int,
    held_out: Callable[[], Iterator[Batch]] | None,
    files: PretrainOptions,
    checkpoints: Checkpoints,
    found: Checkpoint | None,
    facts: dict[str, Any],
    write_weights: Callable[[Path, Tensors], None],
) -> Path:
    """Train, and save on the way and at the end.

    Args:
        model: on the device of the workers, holding the weights to start from.
        total_steps: batches of the whole run.
        found: the checkpoint whose weights it holds, when a run is resumed.
        facts: `dataset` (its fingerprint) and `data` (what the report says of it).
        held_out, checkpoints, write_weights: see `Pretraining`.

    Returns:
        the last checkpoint.
    """
    precision, reason = _precision(model, means, found)
    if not means.training.dry_run:
        checkpoints.check_room(model)
    parameters = sum(param.numel() for param in model.parameters())
    run = Run(
        model,
        get_batch,
        means,
        precision=precision,
        windows=Windows(total_steps, means.training.accumulation_steps),
        found=found,
        line=pretraining_line,
        folder=run_folder(files.output_model_path),
        facts=facts,
    )
    average = WeightAverage(run.engine, files.ema_decay) if files.ema_decay else None
    if found is not None and average is not None:
        found.load_average(average)
    run.log.say("%s parameters; precision %s (%s).", f"{parameters:,}", precision.name, reason)
    about = {"options": means.settings, "dataset": facts["dataset"]}
    return Pretraining(run, checkpoints, write_weights, about, held_out, average).train(files, found)


def _precision(model: Model, means: Means, found: Checkpoint | None) -> tuple[Precision, str]:
    """The precision of a run, and why it is that; a resumed run goes on in its own."""
    name = means.training.precision if found is None else found.training["precision"]
    return choose_precision(name, means.workers.device, model.config.hidden_size)
