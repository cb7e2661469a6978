"""Does pre-training pay on real reviews? Pre-train a small MLM on the training text, fine-tune, compare.

Prints dev accuracies on book_review of: the pre-trained classifier (three seeds of fine-tuning), the same
classifier from scratch (the same budget, best of three learning rates, three seeds), and logistic
regressions on single characters and on pairs; with the wall time of each.

    python3 benchmarks/book_review.py
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import real_data
from uer.cli import Command, run
from uer.config.options import Options, option, positive
from uer.utils.files import atomic_write, repository_root

ROOT = repository_root()


@dataclass(frozen=True)
class BenchmarkOptions(Options):
    """Book reviews."""

    total_steps: int = positive(4000, "batches of pre-training")
    epochs_num: int = positive(3, "passes of fine-tuning, pre-trained or not")
    seeds: tuple[int, ...] = option((7, 8, 9), "seeds of fine-tuning")
    scratch_rates: tuple[float, ...] = option(
        (5e-4, 1e-3, 2e-3), "learning rates to choose from by the first seed, from scratch"
    )
    learning_rate: float = positive(1e-3, "learning rate behind pre-training")
    work_dir: str | None = option(
        None,
        "folder for what is written, where a benchmark that was stopped goes on (default: a temporary one)",
        metavar="FOLDER",
    )


def call(work: Path, script: str, words: str) -> tuple[float, float | None]:
    """Run a script, unless this folder has seen it end; its seconds and the best accuracy that it printed.

    Raises:
        RuntimeError: it failed.
    """
    ended = work / "ended.json"
    known = json.loads(ended.read_text(encoding="utf-8")) if ended.is_file() else {}
    line = f"{script} {words}"
    if line not in known:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(ROOT / script), *words.split()], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{script} failed:\n{done.stderr[-2000:]}")
        scores = re.findall(r"Acc\. \(Correct/Total\): ([0-9.]+)", done.stdout + done.stderr)
        known[line] = time.perf_counter() - began, max(map(float, scores), default=None)
        with atomic_write(ended, "w", encoding="utf-8") as file:
            json.dump(known, file, indent=1)
    return tuple(known[line])


def linear(data: Path, longest: int) -> float:
    """Dev accuracy of a logistic regression on runs of up to `longest` characters, best of three."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    parts = {}
    for name in ("train", "dev"):
        lines = (data / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
        parts[name] = tuple(zip(*(line.split("\t")[:2] for line in lines)))
    counter = CountVectorizer(analyzer="char", ngram_range=(1, longest), min_df=2).fit(parts["train"][1])
    train, dev = counter.transform(parts["train"][1]), counter.transform(parts["dev"][1])
    fitted = (LogisticRegression(C=c, max_iter=300).fit(train, parts["train"][0]) for c in (0.03, 0.1, 0.3))
    return max(model.score(dev, parts["dev"][0]) for model in fitted)


def pre_train(data: Path, work: Path, model: str, steps: int) -> float:
    """Pre-train on the training text and write `model.bin-STEPS` in `work`; the seconds it took.

    Args:
        model: flags that describe the model.
    """
    corpus = work / "corpus.txt"
    rows = (data / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    corpus.write_text("".join(row.split("\t", 1)[1] + "\n" for row in rows), encoding="utf-8")
    calls = {
        "scripts/build_vocab.py": f"--corpus_path {corpus} --output_path {work}/vocab.txt --model_type char "
        "--min_count 2",
        "preprocess.py": f"--corpus_path {corpus} --vocab_path {work}/vocab.txt --dataset_path "
        f"{work}/dataset.pt --processes_num 2 --data_processor mlm --dynamic_masking --full_sentences",
        "pretrain.py": f"--dataset_path {work}/dataset.pt {model} --target mlm --output_model_path "
        f"{work}/model.bin --batch_size 32 --mask_rate 0.3 --optimizer muon --learning_rate 8e-3 "
        f"--total_steps {steps} --save_checkpoint_steps {steps}",
    }
    return sum(call(work, script, words)[0] for script, words in calls.items())


def main(argv: list[str] | None = None) -> int:
    """Run all and print the table."""
    options = Command("benchmarks/book_review.py", __doc__, BenchmarkOptions).parse(argv)[BenchmarkOptions]
    data = real_data() / "data" / "datasets" / "book_review"
    work = Path(options.work_dir or tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    # The characters of 2.5 MB of text: a fifth of a general vocabulary, a fifth of the output layer's work.
    model = f"--vocab_path {work}/vocab.txt --config_path {ROOT / 'models' / 'bert' / 'tiny_config.json'}"
    # Two layers must find their neighbours by position: with the bias in the scores, and Muon, they begin to
    # use context after a thousand steps; with one of the two alone they had not begun after 1,500.
    model += " --relative_position_embedding"
    spent = pre_train(data, work, model, options.total_steps)
    print(f"pre-processed and pre-trained in {spent:.0f} s", flush=True)

    def tune(rate: float, seed: int, start: str) -> tuple[float, float]:
        words = f"--train_path {data}/train.tsv --dev_path {data}/dev.tsv {model} {start} --batch_size 32"
        words += f" --epochs_num {options.epochs_num} --learning_rate {rate} --seed {seed}"
        words += " --adam_bias_correction --pooling mean"
        words += f" --output_model_path {work}/classifier.bin"
        took, best = call(work, "finetune/run_classifier.py", words)
        print(
            f"  {'pre-trained' if start else 'scratch'} rate {rate} seed {seed}: {best:.4f}, {took:.0f} s",
            flush=True,
        )
        return best, took

    start = f"--pretrained_model_path {work}/model.bin-{options.total_steps}"
    tuned = [tune(options.learning_rate, seed, start) for seed in options.seeds]
    first, *others = options.seeds
    tried = {rate: tune(rate, first, "") for rate in options.scratch_rates}
    best_rate = max(tried, key=lambda rate: tried[rate][0])
    scratch = [tried[best_rate], *(tune(best_rate, seed, "") for seed in others)]
    table = [("pre-trained, fine-tuned", tuned), (f"from scratch, rate {best_rate}", scratch)]
    print(f"\n{'dev accuracy on book_review':<36} median   least   most")
    for name, results in table:
        scores = sorted(score for score, _ in results)
        print(f"{name:<36} {statistics.median(scores):.4f}  {scores[0]:.4f}  {scores[-1]:.4f}")
    for name, longest in (("logistic regression, characters", 1), ("logistic regression, + pairs", 2)):
        print(f"{name:<36} {linear(data, longest):.4f}")
    print(f"pre-training and one fine-tuning: {(spent + tuned[0][1]) / 60:.1f} minutes")
    if options.work_dir is None:
        shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
