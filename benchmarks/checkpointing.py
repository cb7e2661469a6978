"""What a checkpoint costs training: how long the loop stands still for it, and what it takes beside the loop.

    python3 benchmarks/checkpointing.py [--config bert/base_config.json] [--every 20] [--saves 3]

The training loop itself trains a model on random tokens, first without checkpoints, then with one every so
many updates, written to a temporary folder as `pretrain.py` writes them. Seconds of the processor are those
of the thread that trains, which other programs on the machine do not change; "all threads" counts what the
writing thread takes besides. The last table says what share of training that is for some values of
`--save_checkpoint_steps`.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import REPOSITORY, machine, table
from uer.cli import Command, read_json, run
from uer.config.options import Options, option, positive

VOCABULARY = 21128
EVERY = (100, 1000, 10_000)  # of --save_checkpoint_steps; the last one is its default
ALLOWED = 0.02


@dataclass(frozen=True)
class SavingOptions(Options):
    """What is trained and saved."""

    config: str = option("bert/small_config.json", "model config, by its path in models/", metavar="FILE")
    rows: int = positive(8, "of a batch")
    length: int = positive(128, "tokens of a row")
    every: int = positive(10, "updates between two checkpoints")
    saves: int = positive(5, "checkpoints; the first one does not count")
    threads: int = positive(1, "of the CPU")
    precision: str = option("auto", "as in training", choices=("auto", "fp32", "bf16"))


@dataclass
class Clock:
    """Seconds that pass, of the wall, of this thread and of all threads."""

    wall: float = field(default_factory=time.perf_counter)
    thread: float = field(default_factory=time.thread_time)
    process: float = field(default_factory=time.process_time)

    def read(self) -> Clock:
        """Seconds since this clock was made."""
        now = Clock()
        return Clock(now.wall - self.wall, now.thread - self.thread, now.process - self.process)


class Costs(NamedTuple):
    """What a run took."""

    whole: Clock
    held: list[Clock]
    """the loop stood still, for each checkpoint"""
    beside: list[Clock]
    """the writing thread was at work, for each checkpoint"""
    size: int
    """bytes of a checkpoint"""


def batches(options: SavingOptions) -> Callable[[int], Any]:
    """Rows of random tokens, a seventh of which are to be found."""
    import numpy as np

    from uer.data.batch import Batch

    def get(step: int) -> Batch:
        draw = np.random.default_rng(step)
        src = draw.integers(5, VOCABULARY, (options.rows, options.length))
        labels = np.where(draw.random(src.shape) < 0.15, src, -100)
        return Batch.counted({"src": src, "seg": np.ones_like(src)}, {"mlm": labels}, np.arange(len(src)))

    return get


@contextlib.contextmanager
def clocked() -> Iterator[list[Clock]]:
    """What the loop stands still for each checkpoint that is saved in the block."""
    from uer.training import loop

    inner, held = loop._Loop.save, []

    def save(self: loop._Loop) -> None:
        clock = Clock()
        inner(self)
        held.append(clock.read())

    loop._Loop.save = save
    try:
        yield held
    finally:
        loop._Loop.save = inner


def train(options: SavingOptions, folder: Path, *, every: int | None) -> Costs:
    """Train by the loop."""
    import torch

    from uer.checkpoints import write_state
    from uer.config.model import ModelConfig
    from uer.config.training import OptimizerOptions, TrainOptions
    from uer.models.build import build_model
    from uer.models.initialize import initialize
    from uer.training.loop import Saving
    from uer.training.precision import choose_precision
    from uer.training.report import pretraining_line
    from uer.training.run import Means, Run
    from uer.training.saving import Snapshot, Writer
    from uer.training.state import Checkpoints
    from uer.training.windows import Windows
    from uer.training.workers import Workers

    torch.manual_seed(1)
    config = ModelConfig.pick(read_json(REPOSITORY / "models" / options.config)).replace(target=("mlm",))
    model = build_model(config, VOCABULARY)
    initialize(model)
    checkpoints, total = Checkpoints(folder / "model.bin", limit=1), options.every * options.saves
    run = Run(
        model,
        batches(options),
        Means(TrainOptions(report_steps=10**9), OptimizerOptions(learning_rate=1e-4), Workers()),
        precision=choose_precision(options.precision, "cpu", config.hidden_size)[0],
        windows=Windows(total),
        found=None,
        line=pretraining_line,
        folder=None,
        facts={},
        quiet=True,
    )

    def save(step: int, progress: dict[str, Any]) -> None:
        about = {"options": {"batch_size": options.rows}, "dataset": "d", "progress": progress}
        common = {"write_weights": write_state, "snapshot": Snapshot.take(run.engine), "training": about}
        writer.submit(partial(written, partial(checkpoints.save, step, **common)))

    def written(write: Callable[[], Any]) -> None:
        clock = Clock()
        write()
        beside.append(clock.read())

    beside: list[Clock] = []
    clock = Clock()
    with clocked() as held, Writer() as writer:
        run.train(saving=None if every is None else Saving(save, every), evaluating=None)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Costs(clock.read(), held, beside, size)


def typical(clocks: list[Clock], kind: str) -> float:
    """The median but for the first one, for which memory is asked for."""
    return statistics.median(getattr(clock, kind) for clock in clocks[min(1, len(clocks) - 1) :])


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    options = Command("benchmarks/checkpointing.py", __doc__, SavingOptions).parse(argv)[SavingOptions]
    import torch

    torch.set_num_threads(options.threads)
    runs = []
    for every in (None, options.every):
        with tempfile.TemporaryDirectory() as name:
            runs.append(train(options, Path(name), every=every))
    plain, saving = runs
    updates = options.every * options.saves
    update = {"thread": plain.whole.process / updates, "wall": plain.whole.wall / updates}
    held, beside = ({kind: typical(x, kind) for kind in update} for x in (saving.held, saving.beside))
    print(f"{machine()}\n{options.config}: a checkpoint of {saving.size / 1e6:,.0f} MB\n")
    header = ("seconds of", "an update", "held up by a save", "the writing thread")
    kinds = {"the processor": "thread", "the wall": "wall"}
    print(
        table(
            header,
            [(word, *(f"{x[kind]:.3f}" for x in (update, held, beside))) for word, kind in kinds.items()],
        )
    )
    rows = []
    for every in EVERY:
        shares = (held["thread"], update["thread"]), (held["wall"], update["wall"])
        both = (held["thread"] + beside["thread"]) / (every * update["thread"])
        rows.append((f"{every:,}", *(f"{x / (every * of):.3%}" for x, of in shares), f"{both:.2%}"))
    print(
        "\n"
        + table(
            ("--save_checkpoint_steps", "held up (processor)", "held up (wall)", "with the writing thread"),
            rows,
        )
    )
    least = held["thread"] / (ALLOWED * update["thread"])
    print(
        f"\nHeld up at most {ALLOWED:.0%} of the processor's time from {least:,.0f} updates between two on."
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
