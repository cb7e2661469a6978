"""What a model says of many rows: batches of like length, nothing kept but what the caller keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from uer.config.inference import PredictorOptions
from uer.data.batch import Batch
from uer.metrics import Metric
from uer.tasks.rows import Examples
from uer.tasks.setup import load_saved, pick_device, pick_precision
from uer.training.precision import Precision
from uer.training.windows import to_tensors

if TYPE_CHECKING:
    from uer.checkpoints.companion import Companion


@contextlib.contextmanager
def predicting(model: nn.Module) -> Iterator[None]:
    """No dropout and no gradients in the block; afterwards the model is in the mode it was in."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():  # what FSDP puts together in inference mode cannot be trained
            yield
    finally:
        model.train(training)


def batches(
    examples: Examples, collate: Callable[[Examples, np.ndarray], Batch], batch_size: int
) -> Iterator[Batch]:
    """All examples in batches of rows of like length, the longest first: what does not fit fails at once."""
    order = np.argsort(-examples.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield collate(examples, order[start : start + batch_size])


def outputs(
    model: nn.Module,
    compute: Callable[[dict[str, Tensor]], Tensor],
    stream: Iterator[Batch],
    precision: Precision,
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch and what `compute(inputs)` (a method of the model) gives for it, float32 [B, …].

    Args:
        stream: batches; they are made in the order in which they are asked for.
    """
    device = next(model.parameters()).device
    for batch in stream:
        with predicting(model), precision.autocast():
            given = compute(to_tensors(batch).to(device).inputs)
        yield batch, given.float().cpu().numpy()


def evaluate(
    model: nn.Module,
    task: Any,
    examples: Examples,
    *,
    batch_size: int,
    precision: Precision,
    settled: bool = False,
) -> Metric:
    """The task's metric of a model on labelled examples.

    Args:
        task: has `collate`, `metric`, `score` (see `uer.tasks.finetune.Task`).
        model: has `predict(inputs)`.
        settled: nothing is chosen on these examples any more (the test file).
    """
    metric = task.metric(settled)
    stream = batches(examples, task.collate, batch_size)
    for batch, logits in outputs(model, model.predict, stream, precision):
        task.score(metric, logits, batch, examples)
    return metric


def in_order(
    model: nn.Module,
    task: Any,
    examples: Examples,
    *,
    batch_size: int,
    precision: Precision,
    compute: Callable[[dict[str, Tensor]], Tensor] | None = None,
) -> np.ndarray:
    """float32 [n, …]: what the model gives for all examples, in their order; `compute`: see `outputs`."""
    every = None
    stream = batches(examples, task.collate, batch_size)
    for batch, logits in outputs(model, compute or model.predict, stream, precision):
        if every is None:
            every = np.empty((len(examples), *logits.shape[1:]), np.float32)
        every[batch.ids] = logits
    assert every is not None, "there is at least one row"
    return every


class Predictor:
    """A fine-tuned model, loaded strictly, that predicts on its device.

    Args:
        task: see `uer.tasks.finetune.Task`; its `name` must be the companion's.
        model: has `predict(inputs)`.
        path: the file, where it is not `--load_model_path` itself.

    Raises:
        CheckpointError: the file does not fit the model, or is of another task.
    """

    def __init__(
        self,
        task: Any,
        model: nn.Module,
        options: PredictorOptions,
        companion: Companion | None,
        path: str | None = None,
    ) -> None:
        self.task, self.model, self.batch_size = task, model, options.batch_size
        load_saved(model, path or options.load_model_path, companion, task=task.name)
        model.to(pick_device())
        self.precision = pick_precision(options.precision, model)

    def stream(self, examples: Examples) -> Iterator[tuple[Batch, np.ndarray]]:
        """Batches, rows of like length together, and what the model gives for each."""
        made = batches(examples, self.task.collate, self.batch_size)
        return outputs(self.model, self.model.predict, made, self.precision)

    def logits(self, examples: Examples) -> np.ndarray:
        """float32 [n, …]: the logits of all examples in their order."""
        return self.computed(examples, self.model.predict)

    def computed(self, examples: Examples, compute: Callable[[dict[str, Tensor]], Tensor]) -> np.ndarray:
        """float32 [n, …]: what another method of the model gives for all examples, in their order."""
        common = {"batch_size": self.batch_size, "precision": self.precision, "compute": compute}
        return in_order(self.model, self.task, examples, **common)
