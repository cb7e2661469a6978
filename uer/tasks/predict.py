"""What a model says of many rows: batches of like length, nothing kept but what the caller keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from uer.config.inference import InferenceOptions, PredictorOptions
from uer.data.batch import Batch
from uer.metrics import Metric
from uer.tasks.output import table_writer
from uer.tasks.overflow import CUT, LongRows
from uer.tasks.rows import Examples
from uer.tasks.setup import load_saved, pick_device, pick_precision
from uer.tasks.table import read_chunks
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


def of_rows(stream: Iterator[tuple[Batch, np.ndarray]], of: np.ndarray) -> Iterator[tuple[Batch, np.ndarray]]:
    """What is given for rows, float32 [B, …]: the mean over the windows of each.

    A row comes with the batch that holds the last of its windows, so that nothing but what is begun is kept.

    Args:
        stream: batches of windows, and what is given for them. of: the row of each window.
    """
    left = np.bincount(of)
    counts, sums = left.copy(), {}
    for batch, given in stream:
        whole: list[int] = []
        for place, (row, values) in enumerate(zip(of[batch.ids].tolist(), given.astype(np.float64))):
            sums[row] = sums[row] + values if row in sums else values
            left[row] -= 1
            if not left[row]:
                whole.append(place)
        if whole:
            rows = of[batch.ids[whole]]
            means = np.stack([sums.pop(row) / counts[row] for row in rows.tolist()])
            labels = {name: values[whole] for name, values in batch.labels.items()}
            yield Batch({}, labels, {}, rows), means.astype(np.float32)


def given(
    model: nn.Module,
    task: Any,
    examples: Examples,
    *,
    batch_size: int,
    precision: Precision,
    compute: Callable[[dict[str, Tensor]], Tensor] | None = None,
) -> Iterator[tuple[Batch, np.ndarray]]:
    """What the model gives for all rows, in batches of rows of like length; windows of a row are pooled.

    Args:
        compute: see `outputs`; default: `model.predict`.
    """
    stream = batches(examples, task.collate, batch_size)
    found = outputs(model, compute or model.predict, stream, precision)
    return found if examples.of is None else of_rows(found, examples.of)


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
    for batch, logits in given(model, task, examples, batch_size=batch_size, precision=precision):
        task.score(metric, logits, batch, examples)
    return metric


def in_order(model: nn.Module, task: Any, examples: Examples, **settings: Any) -> np.ndarray:
    """float32 [n, …]: what the model gives for all rows, in their order; `settings`: see `given`."""
    every = None
    for batch, values in given(model, task, examples, **settings):
        if every is None:
            every = np.empty((examples.rows_num, *values.shape[1:]), np.float32)
        every[batch.ids] = values
    assert every is not None, "there is at least one row"
    return every


class Predictor:
    """A fine-tuned model, loaded strictly, that predicts on its device.

    Args:
        task: see `uer.tasks.finetune.Task`; its `name` must be the companion's.
        model: has `predict(inputs)`.
        path: the file, where it is not `--load_model_path` itself.

    Attributes:
        seen: counts rows that were too long; leaving the predictor as a context says it.

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
        self.source, self.seen = options.test_path, LongRows()
        load_saved(model, path or options.load_model_path, companion, task=task.name)
        model.to(pick_device())
        self.precision = pick_precision(options.precision, model)

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """When all is predicted, say how many rows were too long."""
        if kind is None:
            task, unit = self.task, getattr(self.task, "unit", "rows")
            self.seen.warn(self.source, task.seq_length, unit, done=getattr(task, "cut", CUT))

    def stream(
        self, examples: Examples, compute: Callable[[dict[str, Tensor]], Tensor] | None = None
    ) -> Iterator[tuple[Batch, np.ndarray]]:
        """Batches of rows of like length, and what the model gives for each (`given`); no row is counted."""
        common = {"batch_size": self.batch_size, "precision": self.precision, "compute": compute}
        return given(self.model, self.task, examples, **common)

    def logits(self, examples: Examples) -> np.ndarray:
        """float32 [n, …]: the logits of all rows in their order."""
        return self.computed(examples, self.model.predict)

    def computed(self, examples: Examples, compute: Callable[[dict[str, Tensor]], Tensor]) -> np.ndarray:
        """float32 [n, …]: what another method of the model gives for all rows, in their order."""
        self.seen.add(examples)
        common = {"batch_size": self.batch_size, "precision": self.precision, "compute": compute}
        return in_order(self.model, self.task, examples, **common)


def predict_table(
    predictor: Predictor,
    options: InferenceOptions,
    columns: Callable[[list[dict[str, str]]], Mapping[str, Sequence[str]]],
    *,
    required: Sequence[str] = ("text_a",),
    optional: Sequence[str] = (),
) -> None:
    """Read the table `--test_path` chunk by chunk, and write what is predicted for its rows.

    Args:
        columns: rows → predicted columns.
        required, optional: the columns that are read, besides those that are kept.

    Raises:
        DataError: see `uer.data.readers.read_tsv`; or there is no row.
    """
    kept = options.keep_columns
    with predictor, table_writer(options.output, kept) as writer:
        for rows in read_chunks(options.test_path, (*required, *kept), optional):
            writer.write(columns(rows), rows)
