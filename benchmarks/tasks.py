"""Scores of tasks on real data, each beside what guessing and a simple model get; nothing is downloaded.

    python3 benchmarks/tasks.py                       all four
    python3 benchmarks/tasks.py --tasks ner --steps 4000

The models are small (two layers of width 128) and see little: the budget is part of each row. "Pre-trained"
means: on the task's own text, never its labels, in this very run. What was measured is kept in
benchmarks/results/tasks.json, where a task that is run again takes the place of its rows.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import machine, real_data, table
from benchmarks.task_baselines import linear_tags, linear_texts, ngram_choice, stretches
from uer.cli import Command, run
from uer.config.options import Options, not_negative, option, positive
from uer.utils.files import repository_root

ROOT = repository_root()
RESULTS = ROOT / "benchmarks" / "results" / "tasks.json"
TASKS = ("ner", "emotions", "choices", "answers")
MODEL = f"--config_path {ROOT / 'models' / 'bert' / 'tiny_config.json'} --relative_position_embedding"
TUNING = "--adam_bias_correction --learning_rate 1e-3 --precision fp32"


@dataclass(frozen=True)
class BenchmarkOptions(Options):
    """Tasks."""

    tasks: tuple[str, ...] = option(TASKS, "which of them", choices=TASKS)
    steps: int = not_negative(1000, "batches of pre-training on the task's own text; 0: from scratch only")
    rows: int = positive(8000, "training rows of emotions")
    documents: int = positive(400, "training documents of choices; a third of them of answers")
    epochs_num: int = positive(6, "passes of fine-tuning")
    seed: int = option(7, "seed of the splits and of the models")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        task, way: what was measured. scores: name → number. budget: what it was given, in words.
        seconds: of all its processes; None for what is computed at once.
    """

    task: str
    way: str
    scores: dict[str, float]
    budget: str = ""
    seconds: float | None = None


def call(script: str, words: str) -> float:
    """Run a script; its seconds."""
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / script), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{script} {words} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


class Bench:
    """The ways of one task: a folder to work in, a vocabulary of its text's characters, its rows.

    Args:
        text: lines of the task's own text, without labels.
        script, flags: what fine-tunes, and what it is told besides files.
        files: the flags of training, development and test files.
        names: the scores that are kept.
    """

    def __init__(
        self,
        task: str,
        work: Path,
        text: Sequence[str],
        *,
        script: str,
        flags: str,
        files: str,
        names: Sequence[str],
        options: BenchmarkOptions,
    ) -> None:
        self.task, self.work, self.options = task, work, options
        self.script, self.flags, self.files, self.names = script, flags, files, tuple(names)
        self.corpus = work / "corpus.txt"
        self.corpus.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
        words = f"--corpus_path {self.corpus} --output_path {work}/vocab.txt --model_type char --min_count 2"
        call("scripts/build_vocab.py", words)
        self.model = f"--vocab_path {work}/vocab.txt {MODEL}"

    def pretrain(self) -> float:
        """Train a masked language model on the text; its seconds."""
        steps, work = self.options.steps, self.work
        spent = call(
            "preprocess.py",
            f"--corpus_path {self.corpus} --vocab_path {work}/vocab.txt --dataset_path {work}/dataset.pt "
            "--processes_num 1 --data_processor mlm --dynamic_masking --full_sentences",
        )
        return spent + call(
            "pretrain.py",
            f"--dataset_path {work}/dataset.pt {self.model} --target mlm --output_model_path {work}/pre.bin "
            "--batch_size 32 --mask_rate 0.3 --optimizer muon --learning_rate 8e-3 "
            f"--total_steps {steps} --save_checkpoint_steps {steps} --seed {self.options.seed}",
        )

    def tune(self, pretrained: bool, budget: str) -> Row:
        """Fine-tune, and read the scores of the test file from the run's record."""
        start = f"--pretrained_model_path {self.work}/pre.bin-{self.options.steps}" if pretrained else ""
        words = f"{self.files} {self.model} {start} {TUNING} {self.flags} --seed {self.options.seed}"
        words += f" --epochs_num {self.options.epochs_num} --output_model_path {self.work}/tuned.bin"
        seconds = call(f"finetune/{self.script}.py", words)
        results = json.loads((self.work / "tuned.bin.run" / "results.json").read_text(encoding="utf-8"))
        scores = {name: results["Test"]["scores"][name] for name in self.names}
        way = "pre-trained, fine-tuned" if pretrained else "from scratch"
        return Row(self.task, way, scores, budget, seconds)

    def rows(self, budget: str) -> list[Row]:
        """From scratch, and pre-trained where there are steps for it."""
        found = [self.tune(False, budget)]
        if self.options.steps:
            spent = self.pretrain()
            tuned = self.tune(True, f"{self.options.steps} batches of pre-training, {budget}")
            found.append(Row(tuned.task, tuned.way, tuned.scores, tuned.budget, tuned.seconds + spent))
        return found


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    """A table file."""
    lines = ["\t".join(columns), *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a table file, without its header."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def ner(data: Path, work: Path, options: BenchmarkOptions) -> list[Row]:
    """Names in msra_ner: its development file is cut into rows to learn from and to choose by; the test is
    its own.
    """
    rows, test = (read_rows(data / "msra_ner" / f"{name}.tsv") for name in ("dev", "test"))
    random.Random(options.seed).shuffle(rows)
    train, dev = rows[:-300], rows[-300:]
    for name, part in (("train", train), ("dev", dev), ("test", test)):
        write_table(work / f"{name}.tsv", ("text_a", "label"), part)
    found = [Row("ner", way, scores) for way, scores in linear_tags(train, test, options.seed)]
    bench = Bench(
        "ner",
        work,
        [row[0].replace(" ", "") for row in (*rows, *test)],
        script="run_ner",
        flags="--batch_size 16 --seq_length 128 --overflow window --crf_target --learning_rate 2e-3 "
        "--eval_steps 504",
        files=f"--train_path {work}/train.tsv --dev_path {work}/dev.tsv --test_path {work}/test.tsv",
        names=("f1", "precision", "recall"),
        options=options,
    )
    return found + bench.rows(f"{len(train)} rows, {options.epochs_num} passes; {len(test)} test rows")


def emotions(data: Path, work: Path, options: BenchmarkOptions) -> list[Row]:
    """Six emotions of smp2020-ewect (usual): its own files, of the training rows `--rows`."""
    folder = data / "smp2020-ewect" / "usual"
    parts = {name: read_rows(folder / f"{name}.tsv") for name in ("train", "dev", "test")}
    random.Random(options.seed).shuffle(parts["train"])
    parts["train"] = parts["train"][: options.rows]
    for name, part in parts.items():
        write_table(work / f"{name}.tsv", ("label", "text_a"), part)
    train, test = parts["train"], parts["test"]
    found = [Row("emotions", way, scores) for way, scores in linear_texts(train, test, options.seed)]
    bench = Bench(
        "emotions",
        work,
        [row[1] for row in train],
        script="run_classifier",
        flags="--batch_size 32 --seq_length 128 --pooling mean --best_metric macro_f1",
        files=f"--train_path {work}/train.tsv --dev_path {work}/dev.tsv --test_path {work}/test.tsv",
        names=("acc", "macro_f1"),
        options=options,
    )
    return found + bench.rows(f"{len(train)} rows, {options.epochs_num} passes; {len(test)} test rows")


def choices(data: Path, work: Path, options: BenchmarkOptions) -> list[Row]:
    """Questions of C3: its development file alone has answers; of its documents 300 are the test, 100 choose,
    and as many as the options say are learnt from.
    """
    documents = json.loads((data / "c3" / "dev.json").read_text("utf-8"))
    random.Random(options.seed).shuffle(documents)
    test, dev, train = documents[:300], documents[300:400], documents[400 : 400 + options.documents]
    for name, part in (("train", train), ("dev", dev), ("test", test)):
        (work / f"{name}.json").write_text(json.dumps(part, ensure_ascii=False), encoding="utf-8")
    found = [Row("choices", way, scores) for way, scores in ngram_choice(train, test)]
    bench = Bench(
        "choices",
        work,
        [line for document in (*train, *dev, *test) for line in document[0]],
        script="run_c3",
        flags="--batch_size 8 --seq_length 160",
        files=f"--train_path {work}/train.json --dev_path {work}/dev.json --test_path {work}/test.json",
        names=("acc",),
        options=options,
    )
    asked = sum(len(document[1]) for document in test)
    return found + bench.rows(f"{len(train)} documents, {options.epochs_num} passes; {asked} test questions")


def answers(data: Path, work: Path, options: BenchmarkOptions) -> list[Row]:
    """Answers in texts of CMRC 2018: of its development file a third of `--documents` to learn from, 20 to
    choose by, 60 as the test.
    """
    whole = json.loads((data / "cmrc2018" / "dev.json").read_text("utf-8"))["data"]
    texts = [paragraph for entry in whole for paragraph in entry["paragraphs"]]
    random.Random(options.seed).shuffle(texts)
    size = options.documents // 3
    parts = {"train": texts[:size], "dev": texts[size : size + 20], "test": texts[size + 20 : size + 80]}
    for name, part in parts.items():
        content = {"data": [{"paragraphs": part}]}
        (work / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    found = [Row("answers", way, scores) for way, scores in stretches(parts["test"], options.seed)]
    bench = Bench(
        "answers",
        work,
        [text["context"].replace("\n", "") for text in texts],
        script="run_cmrc",
        flags="--batch_size 16 --seq_length 256 --doc_stride 128",
        files=f"--train_path {work}/train.json --dev_path {work}/dev.json --test_path {work}/test.json",
        names=("f1", "em"),
        options=options,
    )
    asked = sum(len(text["qas"]) for text in parts["test"])
    return found + bench.rows(f"{size} texts, {options.epochs_num} passes; {asked} test questions")


WAYS: dict[str, Callable[[Path, Path, BenchmarkOptions], list[Row]]] = {
    "ner": ner,
    "emotions": emotions,
    "choices": choices,
    "answers": answers,
}


def keep(rows: Sequence[Row], task: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """Put the rows of a task into the file of results; all rows of the file."""
    held = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.is_file() else []
    held = [row for row in held if row["task"] != task]
    command = " ".join(["python3 benchmarks/tasks.py", *words])
    held += [{**vars(row), "command": command} for row in rows]
    held.sort(key=lambda row: TASKS.index(row["task"]))
    content = {"machine": re.sub(r"\s+", " ", machine()), "rows": held}
    RESULTS.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return held


def main(argv: list[str] | None = None) -> int:
    """Measure task by task, keep each at once, and print the table."""
    words = sys.argv[1:] if argv is None else argv
    options = Command("benchmarks/tasks.py", __doc__, BenchmarkOptions).parse(argv)[BenchmarkOptions]
    data = real_data() / "data" / "datasets"
    for name in options.tasks:
        with tempfile.TemporaryDirectory() as work:
            held = keep(WAYS[name](data, Path(work), options), name, words)
        lines = [
            (
                row["task"],
                row["way"],
                ", ".join(f"{k} {x:.4f}" for k, x in row["scores"].items()),
                row["budget"],
            )
            for row in held
            if row["task"] == name
        ]
        print(table(("task", "way", "scores", "budget"), lines), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
