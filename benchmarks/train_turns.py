"""Sides of benchmarks/train.py as processes that take turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import REPOSITORY
from uer.cli import ENVIRONMENT

if TYPE_CHECKING:
    from benchmarks.train import BenchmarkOptions

SHORTEST = 0.05  # seconds of a turn of products: one alone is over before a clock is read


@dataclass
class Process:
    """One side, and what its turns gave."""

    side: str
    precision: str
    job: subprocess.Popen
    about: str = ""
    turns: list[dict[str, float]] = field(default_factory=list)
    steps: int = 1
    clock: str = "seconds"
    left_out: str = ""
    """why it is, if it is"""

    def listen(self) -> dict[str, Any]:
        """Its next answer.

        Raises:
            MemoryError: it needs more than there is.
            EOFError: it has ended.
        """
        line = self.job.stdout.readline()
        if not line:
            raise EOFError(f"it ended with code {self.job.wait()}")
        answer = json.loads(line)
        if "full" in answer:
            raise MemoryError(answer["full"])
        return answer

    def turn(self, steps: int) -> dict[str, Any]:
        """Have it take steps."""
        self.job.stdin.write(json.dumps({"steps": steps}) + "\n")
        self.job.stdin.flush()
        return self.listen()

    def rate(self, unit: str) -> float:
        """Median of its turns, a second."""
        return statistics.median(turn[unit] / turn[self.clock] for turn in self.turns)


def environment(side: str) -> dict[str, str]:
    """What a side's own scripts set, and where it finds its modules."""
    return {"PYTHONPATH": "" if side == "uer" else str(REPOSITORY), **(ENVIRONMENT if side == "ours" else {})}


def start(side: str, precision: str, about: dict[str, Any], folder: Path) -> Process:
    """Start one side; it builds its model meanwhile."""
    peer = about["peers"].get(side)
    file = folder / f"{side}-{precision}.json"
    file.write_text(json.dumps({**about["case"], "side": side, "precision": precision, "path": peer}))
    job = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "benchmarks" / "train_sides.py"), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment(side)},
    )
    return Process(side, precision, job)


@contextmanager
def spared(process: Process) -> Iterator[None]:
    """A side that finds no memory or ends in the block is left out from then on; the others go on."""
    try:
        yield
    except MemoryError:
        process.left_out, process.turns = "there is no memory for it", []
    except (EOFError, BrokenPipeError) as error:
        process.left_out, process.turns = str(error), []


def take_turns(processes: list[Process], options: BenchmarkOptions) -> None:
    """A first step each, which says how many a turn takes; then the rounds.

    With `--tiny` one step is a turn, but of products, whose rate the others are held against.
    """
    for process in processes:
        with spared(process):
            process.about = process.listen()["about"]
            process.turn(1)
            once = process.turn(1)["seconds"]
            least = SHORTEST if process.side == "products" else 0.0
            process.steps = max(1, round((least if options.tiny else options.seconds) / once))
    for _ in range(options.rounds):
        for process in processes:
            if not process.left_out:
                with spared(process):
                    process.turns.append(process.turn(process.steps))
