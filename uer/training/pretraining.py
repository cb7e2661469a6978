"""A run of pre-training: optimiser, precision, log and checkpoints around the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from uer.config.training import DistributedOptions, OptimizerOptions, PretrainOptions, TrainOptions
from uer.data.batch import Batch
from uer.models.model import Model
from uer.training.ema import WeightAverage
from uer.training.engines import build_engine
from uer.training.engines.base import Tensors
from uer.training.estimate import dry_run, estimate, settle_pieces
from uer.training.heldout import evaluate, held_out_line, held_out_record
from uer.training.loop import Evaluating, Saving, fit
from uer.training.optimizers import build_optimizer
from uer.training.precision import choose_precision
from uer.training.report import pretraining_line
from uer.training.runlog import RunLog, run_folder
from uer.training.saving import Snapshot, Writer, chosen_here
from uer.training.schedulers import build_schedule
from uer.training.state import Checkpoint, Checkpoints
from uer.training.trackers import open_trackers
from uer.training.windows import Windows
from uer.training.workers import Workers


def pretrain(
    model: Model,
    get_batch: Callable[[int], Batch],
    *,
    total_steps: int,
    held_out: Callable[[], Iterator[Batch]] | None = None,
    files: PretrainOptions,
    training: TrainOptions,
    optimization: OptimizerOptions,
    workers: Workers,
    distribution: DistributedOptions,
    checkpoints: Checkpoints,
    found: Checkpoint | None,
    about: dict[str, Any],
    data: dict[str, Any],
    write_weights: Callable[[Path, Tensors], None],
) -> Path:
    """Train, and save on the way and at the end.

    Args:
        model: on the device of `workers`, holding the weights to start from.
        total_steps: batches of the whole run.
        held_out: the batches of held-out text.
        found: the checkpoint whose weights it holds, when a run is resumed.
        about: what checkpoints say of the run: `options` (all effective ones) and `dataset` (fingerprint).
        data: facts about the dataset, for the report.
        write_weights: writes weights of the model, with its companion.

    Returns:
        the last checkpoint.
    """
    name = training.precision if found is None else found.training["precision"]
    precision, reason = choose_precision(name, workers.device, model.config.hidden_size)
    optimizer = build_optimizer(model, optimization)
    cost = estimate(
        model,
        get_batch(0),
        precision,
        optimizer,
        device=workers.device,
        recompute=training.gradient_checkpointing,
    )
    if training.dry_run:
        dry_run(cost, workers.device, optimization.optimizer)
    if found is not None:
        training = training.replace(micro_batches=found.training.get("micro_batches", "1"))
    training = settle_pieces(training, cost, workers.device)
    checkpoints.check_room(model)
    shapes = [(name, tuple(param.shape)) for name, param in model.named_parameters()]
    parameters = sum(param.numel() for param in model.parameters())
    average = WeightAverage(model, files.ema_decay) if files.ema_decay else None
    engine = build_engine(
        model,
        optimizer,
        workers,
        distribution,
        optimizer_name=optimization.optimizer,
        needs_whole="--ema_decay" if files.ema_decay else None,
    )
    start, progress = 0, None
    if found is not None:
        found.load_optimizer(engine)
        if average is not None:
            found.load_average(average)
        start, progress = found.step, found.training["progress"]
    windows = Windows(total_steps, training.accumulation_steps)
    folder = run_folder(files.output_model_path)
    log = RunLog(
        pretraining_line,
        total=windows.total,
        folder=folder,
        start=start,
        quiet=not workers.is_first,
        machine=cost.machine(precision, workers.size),
        trackers=open_trackers(training, folder, about["options"], start=start, first=workers.is_first),
    )
    log.describe(about["options"], precision=precision.name, dataset=about["dataset"], data=data)
    log.say("%s parameters; precision %s (%s).", f"{parameters:,}", precision.name, reason)

    def save(step: int, progress: dict[str, Any]) -> None:
        snapshot = Snapshot.take(engine, average)
        state = {**about, **chosen_here(), "precision": precision.name, "progress": progress}
        state["micro_batches"] = training.micro_batches
        write = partial(
            checkpoints.save, step, write_weights=write_weights, snapshot=snapshot, training=state
        )
        if workers.is_first:
            writer.submit(lambda: log.say("Saved %s.", write()))

    def look(step: int) -> None:
        with average.applied() if average is not None else contextlib.nullcontext():
            terms = evaluate(engine.module, held_out(), precision=precision, device=workers.device)
        log.say("%s", held_out_line(step, terms))
        log.record(held_out_record(step, terms))

    if start >= windows.total:
        log.say(
            "The run of %d steps is finished; raise --total_steps to go on from %s.",
            windows.total,
            found.path,
        )
        return found.path
    workers.agree("the run", f"{about} {start} {precision.name} {shapes}")
    log.say("Worker %sis training ... ", f"{workers.rank} " if workers.size > 1 else "")
    with Writer() as writer:
        fit(
            model,
            get_batch,
            training,
            optimizer=optimizer,
            schedule=build_schedule(optimization, windows.updates),
            windows=windows,
            precision=precision,
            log=log,
            saving=Saving(save, files.save_checkpoint_steps),
            evaluating=None if held_out is None else Evaluating(look, files.eval_steps),
            average=average,
            workers=workers,
            engine=engine,
            max_grad_norm=optimization.max_grad_norm,
            start=start,
            progress=progress,
        )
    return checkpoints.path(windows.total)
