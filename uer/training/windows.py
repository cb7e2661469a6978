"""Batches grouped into the windows of one update each, fetched ahead of their use.

Everything counts from the step number (batches done), so a run that starts at step n sees what an
undisturbed run sees after n steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from uer.data.batch import Batch
from uer.data.ragged import ragged_index, starts_of

AHEAD = 2  # windows fetched while one is worked on


class Span(NamedTuple):
    """The batches of one update."""

    index: int
    """number of the window, from 0: updates (or skipped ones) before it"""
    first: int
    """number of its first batch, from 0"""
    last: int
    """batches done after it"""


@dataclass(frozen=True)
class Windows:
    """How the batches of a run fall into windows: `size` each, fewer at the end of a period and of the run.

    Attributes:
        total: batches of the whole run.
        size: batches of a window (`--accumulation_steps`).
        period: no window reaches over a multiple of it (an epoch that ends with something); None: the run.
    """

    total: int
    size: int = 1
    period: int | None = None

    def index(self, step: int) -> int:
        """Windows that are done after `step` batches; `step` is the end of a window."""
        rounds, rest = divmod(step, self.period or self.total)
        return rounds * math.ceil((self.period or self.total) / self.size) + math.ceil(rest / self.size)

    @property
    def updates(self) -> int:
        """Windows of the whole run: what the schedule counts."""
        return self.index(self.total)

    def after(self, step: int) -> Iterator[Span]:
        """The windows of the run from `step` on."""
        index = self.index(step)
        period = self.period or self.total
        while step < self.total:
            last = min(step + self.size, (step // period + 1) * period, self.total)
            yield Span(index, step, last)
            index, step = index + 1, last


def due(span: Span, every: int | None) -> bool:
    """Whether a multiple of `every` batches is reached in this window."""
    return every is not None and span.last // every > span.first // every


@dataclass
class TensorBatch:
    """A batch as the model takes it.

    Attributes:
        positions: of the grid of the source, padding included (B·L).
        tokens: real tokens of all sides.
        ids: numbers of the instances.
        live: 0 for a batch of a worker that has no row of its own in this step, else 1.
    """

    inputs: dict[str, Tensor]
    labels: dict[str, Tensor]
    counts: dict[str, int]
    positions: int
    tokens: int
    ids: np.ndarray
    live: int = 1

    def to(self, device: torch.device) -> TensorBatch:
        """The same batch on a device; from pinned memory the copy runs beside the computation."""
        if device.type == "cpu":
            return self
        move = {"device": device, "non_blocking": True}
        inputs = {name: x.to(**move) for name, x in self.inputs.items()}
        labels = {name: x.to(**move) for name, x in self.labels.items()}
        return TensorBatch(inputs, labels, self.counts, self.positions, self.tokens, self.ids, self.live)


@dataclass
class Window:
    """The batches of one update, and for each term how many predictions they hold."""

    span: Span
    batches: list[TensorBatch]

    @property
    def counts(self) -> dict[str, int]:
        """Predictions of each term over the whole window."""
        names = {name for batch in self.batches for name in batch.counts}
        return {name: sum(batch.counts.get(name, 0) for batch in self.batches) for name in sorted(names)}


def _tensor(array: np.ndarray) -> Tensor:
    """Without a copy where the array may be written to (torch has no read-only tensors)."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _sizes(inputs: dict[str, np.ndarray]) -> tuple[int, int]:
    """Positions of the source grids, and real tokens of all sides."""
    positions = sum(x.size for name, x in inputs.items() if name == "src" or name.startswith("src_"))
    segments = [x for name, x in inputs.items() if name in ("seg", "tgt_seg") or name.startswith("seg_")]
    return positions, sum(int(np.count_nonzero(x)) for x in segments) if segments else positions


def to_tensors(batch: Batch, pin: bool = False) -> TensorBatch:
    """A NumPy batch as tensors on the CPU; `pin` puts them where a GPU fetches them fastest."""
    convert = (lambda x: _tensor(x).pin_memory()) if pin else _tensor
    return TensorBatch(
        {name: convert(x) for name, x in batch.inputs.items()},
        {name: convert(x) for name, x in batch.labels.items()},
        batch.counts,
        *_sizes(batch.inputs),
        batch.ids,
        int(batch.live),
    )


def rows_of(batch: Batch, rows: np.ndarray) -> Batch:
    """Some rows of a batch; its counts stay those of the whole.

    Labels of packed documents, which are more than the rows, go with theirs.
    """
    doc = batch.inputs.get("doc")

    def chosen(labels: np.ndarray) -> np.ndarray:
        """The labels of the rows."""
        if doc is None or len(labels) == len(doc):
            return labels[rows]
        counts = doc.max(axis=1)
        return labels[ragged_index(starts_of(counts)[rows], counts[rows])]

    inputs = {name: x[rows] for name, x in batch.inputs.items()}
    labels = {name: chosen(x) for name, x in batch.labels.items()}
    return replace(batch, inputs=inputs, labels=labels, ids=batch.ids[rows])


def cut(batch: Batch, pieces: int, *, fill: bool = False) -> list[Batch]:
    """A batch as so many batches of its rows, or as it has rows; the first one has the counts of all.

    Args:
        fill: where there are fewer rows, further pieces are a row that is not counted: workers that exchange
            something in every pass must have as many of them.
    """
    rows, parts = len(batch.ids), [batch]
    if pieces > 1 and rows > 1:
        places = np.array_split(np.arange(rows), min(pieces, rows))
        first, *others = (rows_of(batch, place) for place in places)
        parts = [first, *(replace(part, counts={}) for part in others)]
    if fill and len(parts) < pieces:
        nothing = rows_of(batch, np.arange(1)).idle() if rows else batch
        parts += [replace(nothing, counts={})] * (pieces - len(parts))
    return parts


def fetch(
    get_batch: Callable[[int], Batch],
    spans: Iterator[Span],
    *,
    pin: bool = False,
    pieces: int = 1,
    fill: bool = False,
) -> Iterator[Window]:
    """The windows one after another, made in a thread while the earlier ones are worked on.

    Each batch comes in so many pieces; `fill`: see `cut`. An error of `get_batch` is raised where its window
    would have come.
    """

    def make(span: Span) -> Window:
        """All batches of a window."""
        parts = [
            part for step in range(span.first, span.last) for part in cut(get_batch(step), pieces, fill=fill)
        ]
        return Window(span, [to_tensors(part, pin) for part in parts])

    waiting: deque[Future[Window]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        try:
            for span in spans:
                waiting.append(pool.submit(make, span))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
