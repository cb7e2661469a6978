"""What a search of 18 trials costs: one after another as scripts do it, and as processes on all cores.

UER-py reads and pads anew in each trial. Its own script is timed where its checkout is named; in its place a
plain loop with transformers does the same work (`benchmarks/search_sides.py`). The rows are the first ones of
book_review. All ways together take less than ten minutes on two quiet cores.

    python3 benchmarks/search.py
    python3 benchmarks/search.py --uer FOLDER --rows 2000
    python3 benchmarks/search.py --tiny                    two trials on generated rows: whether it runs
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import machine, real_data, table
from uer.cli import Command, run
from uer.config.options import Options, option, positive
from uer.utils.files import repository_root

ROOT = repository_root()
CONFIG = ROOT / "models" / "bert" / "tiny_config.json"
LISTS = {"batch_size": ("32", "64"), "learning_rate": ("3e-5", "1e-4", "3e-4"), "epochs_num": ("1", "2", "3")}
TINY = {"batch_size": ("16",), "learning_rate": ("1e-4", "3e-4"), "epochs_num": ("1",)}


@dataclass(frozen=True)
class BenchmarkOptions(Options):
    """Searches."""

    rows: int = positive(1000, "rows of the training and of the development file")
    uer: str | None = option(None, "a checkout of UER-py, to be timed too", metavar="FOLDER")
    tiny: bool = option(False, "two trials on 32 generated rows")
    json_path: str | None = option(None, "write the times to a file", metavar="FILE")


class Taken(NamedTuple):
    """What a command took."""

    wall: float
    processor: float
    printed: str


def adopt_orphans() -> None:
    """Processes whose parents have ended become ours, so that their time counts too (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def wait_for_orphans(seconds: float = 5.0) -> None:
    """Wait until all of them have ended, so long at most."""
    until = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)


def taken(words: list[str], folder: Path) -> Taken:
    """The cost of a command and its children, and what it printed.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        began, before = time.perf_counter(), os.times()
        adopt_orphans()
        done = subprocess.run(words, cwd=folder, stdout=log, stderr=log, check=False)
        wall = time.perf_counter() - began
        wait_for_orphans()
        after = os.times()
        log.seek(0)
        printed = log.read()
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} failed:\n{printed[-2000:]}")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(wall, spent, printed)


def write_rows(work: Path, options: BenchmarkOptions) -> Path:
    """The files of a search in `work`; the vocabulary."""
    if options.tiny:
        draw = random.Random(7)
        for part in ("train", "dev"):
            rows = (f"{number % 2}\t{''.join(draw.choices('好坏书的', k=9))}\n" for number in range(32))
            (work / f"{part}.tsv").write_text("label\ttext_a\n" + "".join(rows), encoding="utf-8")
        return ROOT / "models" / "zh_en_vocab.txt"
    data = real_data() / "data"
    for part in ("train", "dev"):
        source = data / "datasets" / "book_review" / f"{part}.tsv"
        lines = source.read_text(encoding="utf-8").splitlines()[: options.rows + 1]
        (work / f"{part}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return data / "models" / "google_zh_vocab.txt"


def measure(work: Path, options: BenchmarkOptions) -> dict[str, Taken]:
    """Each way and what it took."""
    vocabulary, lists = write_rows(work, options), TINY if options.tiny else LISTS
    model = ["--vocab_path", str(vocabulary), "--config_path", str(CONFIG)]
    files = ["--train_path", f"{work}/train.tsv", "--dev_path", f"{work}/dev.tsv"]
    tried = [word for name, values in lists.items() for word in (f"--{name}_list", *values)]
    ours = [sys.executable, str(ROOT / "finetune" / "run_classifier_grid.py"), *model, *files, *tried]
    ways: dict[str, Taken] = {}
    if options.uer:
        script = ["finetune/run_classifier_grid.py", *model, *files, *tried]
        ways["UER-py"] = taken([sys.executable, *script], Path(options.uer))
    sides = [str(ROOT / "benchmarks" / "search_sides.py"), f"{work}/train.tsv", f"{work}/dev.tsv"]
    listed = [",".join(lists[name]) for name in ("batch_size", "learning_rate", "epochs_num")]
    theirs = [sys.executable, *sides, str(vocabulary), str(CONFIG), "128", *listed]
    ways["a plain loop with transformers, padded"] = taken(theirs, work)
    ways["lists, one after another"] = taken([*ours, "--grid_path", f"{work}/grid.csv"], work)
    output = ["--output_model_path", f"{work}/model.bin"]
    ways["--search grid"] = taken([*ours, "--search", "grid", *output], work)
    return ways


def main(argv: list[str] | None = None) -> int:
    """Time each way and print the table."""
    options = Command("benchmarks/search.py", __doc__, BenchmarkOptions).parse(argv)[BenchmarkOptions]
    with tempfile.TemporaryDirectory() as name:
        ways = measure(Path(name), options)
    trials = len(re.findall(r"Trial \d+/\d+ ", ways["--search grid"].printed))
    first = next(iter(ways.values()))
    rows = [
        (name, f"{way.wall:.1f} s", f"{way.processor:.1f} s", f"{first.wall / way.wall:.1f} ×")
        for name, way in ways.items()
    ]
    print(machine())
    print(table((f"{trials} trials", "wall time", "processor", "faster"), rows))
    if options.json_path:
        facts = {name: {"wall": way.wall, "processor": way.processor} for name, way in ways.items()}
        text = json.dumps({"machine": machine(), "trials": trials, "ways": facts}, indent=1)
        Path(options.json_path).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
