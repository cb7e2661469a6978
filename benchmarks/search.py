"""What a search of 18 trials costs: one trial after another as UER-py does, and as processes on all cores.

UER-py reads and pads anew in each trial; its time is taken from its own checkout when one is named. Prints
the wall time of each way on the first rows of book_review.

    python3 benchmarks/search.py --uer FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import machine, real_data, table
from uer.cli import Command, run
from uer.config.options import Options, option, positive
from uer.utils.files import repository_root

ROOT = repository_root()
LISTS = "--batch_size_list 32 64 --learning_rate_list 3e-5 1e-4 3e-4 --epochs_num_list 1 2 3"


@dataclass(frozen=True)
class BenchmarkOptions(Options):
    """Searches."""

    rows: int = positive(1000, "rows of the training and of the development file")
    uer: str | None = option(None, "a checkout of UER-py, to be timed too", metavar="FOLDER")


def seconds(words: list[str], folder: Path) -> float:
    """Wall time of a command."""
    began = time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


def main(argv: list[str] | None = None) -> int:
    """Time each way and print the table."""
    options = Command("benchmarks/search.py", __doc__, BenchmarkOptions).parse(argv)[BenchmarkOptions]
    data, vocabulary = real_data() / "data", real_data() / "data" / "models" / "google_zh_vocab.txt"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for part in ("train", "dev"):
            lines = (
                (data / "datasets" / "book_review" / f"{part}.tsv").read_text(encoding="utf-8").splitlines()
            )
            kept = "\n".join(lines[: options.rows + 1]) + "\n"
            (work / f"{part}.tsv").write_text(kept, encoding="utf-8")
        model = ["--vocab_path", str(vocabulary), "--config_path", f"{ROOT}/models/bert/tiny_config.json"]
        files = ["--train_path", f"{work}/train.tsv", "--dev_path", f"{work}/dev.tsv", *LISTS.split()]
        script = [sys.executable, f"{ROOT}/finetune/run_classifier_grid.py", *model, *files]
        times = {}
        if options.uer:
            uer = [sys.executable, "finetune/run_classifier_grid.py", *model, *files]
            times["UER-py"] = seconds(uer, Path(options.uer))
        times["lists, one after another"] = seconds([*script, "--grid_path", f"{work}/g.csv"], work)
        times["--search grid"] = seconds(
            [*script, "--search", "grid", "--output_model_path", f"{work}/m.bin"], work
        )
    print(machine())
    first = next(iter(times.values()))
    rows = [(name, f"{taken:.1f} s", f"{first / taken:.1f} ×") for name, taken in times.items()]
    print(table(("18 trials", "wall time", "faster"), rows))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
