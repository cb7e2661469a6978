"""Prediction at speed: a tiny classifier on 8,000 book reviews, the whole process from start to file.

Beside ours runs the loop that one writes with transformers (the same model, exported; rows as they come,
padded in batches of 64), and UER-py's own script where its checkout is named. For each way the shortest wall
time of some runs is told, and the seconds of the processor in that run (user and system).

    python3 benchmarks/inference.py                      wall times mean something on a quiet machine only
    python3 benchmarks/inference.py --uer FOLDER --runs 5
"""

from __future__ import annotations

import os
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
UER_SECONDS = 17.2
"""UER-py's run_classifier_infer.py on the same rows with the same sizes, wall time on a machine like ours"""
THEIRS = """
import sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder, rows, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
lines = open(rows, encoding="utf-8").read().splitlines()[1:]
texts = [line.split("\\t")[1] for line in lines]
with torch.inference_mode(), open(out, "w") as file:
    file.write("label\\n")
    for start in range(0, len(texts), 64):
        part = texts[start : start + 64]
        batch = tokenizer(part, padding=True, truncation=True, max_length=128, return_tensors="pt")
        for label in model(**batch).logits.argmax(dim=1).tolist():
            file.write(f"{label}\\n")
"""


@dataclass(frozen=True)
class BenchmarkOptions(Options):
    """Prediction."""

    runs: int = positive(3, "runs of each way; the shortest counts")
    rows: int = positive(8000, "rows to predict")
    uer: str | None = option(None, "a checkout of UER-py, to be timed too", metavar="FOLDER")


class Cost(NamedTuple):
    """What a process took: seconds on the clock, and of the processor."""

    wall: float
    processor: float


def cost(words: list[str], folder: Path, runs: int) -> Cost:
    """The cost of the shortest of some runs of a command."""
    found = []
    for _ in range(runs):
        with open(folder / "log.txt", "w+", encoding="utf-8") as log:
            began = time.perf_counter()
            process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                log.seek(0)
                raise RuntimeError(f"{' '.join(words)} failed:\n{log.read()[-2000:]}")
        found.append(Cost(wall, used.ru_utime + used.ru_stime))
    return min(found)


def write_model(path: Path, vocabulary: Path) -> None:
    """A classifier of two labels with random weights: what counts here is what it costs."""
    import json

    import torch

    from uer.config.model import ModelConfig
    from uer.models.initialize import initialize
    from uer.tasks.classifier import ClassifierModel, ClassifierTask
    from uer.tasks.labels import LabelMap
    from uer.tasks.setup import save_model
    from uer.tokenizers import build_tokenizer

    torch.manual_seed(7)
    values = json.loads((ROOT / "models" / "bert" / "tiny_config.json").read_text(encoding="utf-8"))
    config = ModelConfig.pick({**values, "labels_num": 2, "target": ()})
    tokenizer = build_tokenizer("bert", vocab_path=str(vocabulary))
    model = ClassifierModel.build(config, len(tokenizer))
    initialize(model)
    task = ClassifierTask(tokenizer, LabelMap.numbered(2), seq_length=128)
    save_model(path, model, config, tokenizer, **task.saved())


def main(argv: list[str] | None = None) -> int:
    """Time each way and print the table."""
    options = Command("benchmarks/inference.py", __doc__, BenchmarkOptions).parse(argv)[BenchmarkOptions]
    data = real_data() / "data"
    vocabulary = data / "models" / "google_zh_vocab.txt"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_model(work / "model.bin", vocabulary)
        lines = (data / "datasets" / "book_review" / "test.tsv").read_text(encoding="utf-8").splitlines()
        (work / "rows.tsv").write_text("\n".join(lines[: options.rows + 1]) + "\n", encoding="utf-8")
        export = ["scripts/export.py", "--load_model_path", "model.bin", "--output_path", "folder"]
        subprocess.run(
            [sys.executable, str(ROOT / export[0]), *export[1:]], cwd=work, check=True, capture_output=True
        )
        files = ["--load_model_path", "model.bin", "--test_path", "rows.tsv", "--prediction_path", "out.tsv"]
        ours = [sys.executable, str(ROOT / "inference" / "run_classifier_infer.py"), *files]
        ways = {
            "ours": cost(ours, work, options.runs),
            "transformers, a loop": cost(
                [sys.executable, "-c", THEIRS, "folder", "rows.tsv", "theirs.tsv"], work, options.runs
            ),
        }
        same = (work / "out.tsv").read_text() == (work / "theirs.tsv").read_text()
        if options.uer:
            described = ["--vocab_path", str(vocabulary), "--labels_num", "2"]
            described += ["--config_path", str(ROOT / "models" / "bert" / "tiny_config.json")]
            script = f"{options.uer}/inference/run_classifier_infer.py"
            ways["UER-py"] = cost([sys.executable, script, *files, *described], work, 1)
    ways.setdefault("UER-py, as measured before", Cost(UER_SECONDS, float("nan")))
    print(machine())
    rows = [
        (name, f"{way.wall:.2f} s", f"{way.processor:.2f} s", f"{UER_SECONDS / way.wall:.1f} ×")
        for name, way in ways.items()
    ]
    print(table((f"{options.rows} rows", "wall time", "processor", f"than {UER_SECONDS} s"), rows))
    print("The labels of both are the same." if same else "The labels of ours and transformers differ.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(run(main))
