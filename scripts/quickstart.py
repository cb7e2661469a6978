"""The whole toolkit in a few minutes on two cores, on the small corpora that ship with it.

Every stage is one command line of the kind a user types; it is printed before it runs. The last page lists
what each stage wrote and what it reached, beside two plain baselines.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from uer.cli import Command, run
from uer.config.quickstart import QuickstartOptions
from uer.errors import ConfigError, EnvironmentFault
from uer.utils.files import remove_folder

REVIEWS = "datasets/douban_book_review"
VOCABULARY = "--vocab_path models/zh_en_vocab.txt"
BERT = "--config_path models/bert/tiny_config.json --embedding word_pos_seg --encoder transformer"
GPT = "--config_path models/gpt2/tiny_config.json --target lm"
BARS = "▁▂▃▄▅▆▇█"


@dataclass
class Stage:
    """One command of the tour.

    Attributes:
        title: what it does, for the last page.
        command: the words behind `python3`.
        writes: the file it leaves, relative to the output folder.
    """

    title: str
    command: str
    writes: str
    seconds: float = 0.0
    result: str = ""


def stages(out: str, options: QuickstartOptions) -> list[Stage]:
    """All commands, with everything they write under `out`."""
    steps, epochs = options.total_steps, options.epochs_num
    corpus = f"--corpus_path corpora/book_review.txt {VOCABULARY} --processes_num 2 --seq_length 64"
    reviews = f"--train_path {REVIEWS}/train.tsv --dev_path {REVIEWS}/dev.tsv --seq_length 64"
    tune = (
        f"finetune/run_classifier.py {VOCABULARY} {BERT} {reviews} --test_path {REVIEWS}/test.tsv "
        f"--adam_bias_correction --learning_rate 1e-3 --batch_size 32 --epochs_num {epochs}"
    )
    return [
        Stage(
            "pre-process (masked language model)",
            f"preprocess.py {corpus} --target mlm --dynamic_masking --dataset_path {out}/dataset.pt",
            "dataset.pt",
        ),
        Stage(
            "pre-train",
            f"pretrain.py --dataset_path {out}/dataset.pt {VOCABULARY} {BERT} --target mlm --batch_size 64 "
            f"--mask_rate 0.25 --learning_rate 1.2e-3 --total_steps {steps} "
            f"--save_checkpoint_steps {steps} --output_model_path {out}/pretrained.bin",
            f"pretrained.bin-{steps}",
        ),
        Stage(
            "fine-tune a classifier",
            f"{tune} --pretrained_model_path {out}/pretrained.bin-{steps} "
            f"--output_model_path {out}/classifier.bin",
            "classifier.bin",
        ),
        Stage(
            "the same without pre-training",
            f"{tune} --output_model_path {out}/from_scratch.bin",
            "from_scratch.bin",
        ),
        Stage(
            "search a grid",
            f"finetune/run_classifier_grid.py {VOCABULARY} {BERT} {reviews} "
            f"--pretrained_model_path {out}/pretrained.bin-{steps} --learning_rate_list 1e-4 2e-4 "
            f"--batch_size_list 32 --epochs_num_list 1 2 --grid_path {out}/grid.csv",
            "grid.csv",
        ),
        Stage(
            "predict labels for new text",
            f"inference/run_classifier_infer.py --load_model_path {out}/classifier.bin "
            f"--test_path {REVIEWS}/test.tsv --prediction_path {out}/prediction.tsv --output_prob",
            "prediction.tsv",
        ),
        *language_model_stages(out, corpus, options.lm_steps),
    ]


def language_model_stages(out: str, corpus: str, steps: int) -> list[Stage]:
    """The commands about a language model.

    Args:
        corpus: flags of `preprocess.py` that name the text and how it is cut.
    """
    return [
        Stage(
            "pre-process (language model)",
            f"preprocess.py {corpus} --target lm --dataset_path {out}/dataset_lm.pt",
            "dataset_lm.pt",
        ),
        Stage(
            "pre-train a language model",
            f"pretrain.py --dataset_path {out}/dataset_lm.pt {VOCABULARY} {GPT} --batch_size 64 "
            f"--adam_bias_correction --learning_rate 2e-3 --total_steps {steps} "
            f"--save_checkpoint_steps {steps} --output_model_path {out}/language_model.bin",
            f"language_model.bin-{steps}",
        ),
        Stage(
            "generate text",
            f"scripts/generate_lm.py --load_model_path {out}/language_model.bin-{steps} --seq_length 48 "
            f"--test_path corpora/story_beginning.txt --prediction_path {out}/story_full.txt "
            "--top_k 20 --stop [SEP]",
            "story_full.txt",
        ),
    ]


def run_stage(stage: Stage, log: Path) -> None:
    """Run one command in the repository's folder, its output on the terminal and in `log`.

    Raises:
        EnvironmentFault: the command failed; it has said why.
    """
    print(f"\n\033[1m▸ {stage.title}\033[0m\n  python3 {stage.command}", flush=True)
    began = time.perf_counter()
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *shlex.split(stage.command)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        for line in process.stdout:
            file.write(line)
            print(f"    {line}", end="", flush=True)
    if process.wait() != 0:
        raise EnvironmentFault(f"the stage '{stage.title}' failed; its lines are above and in {log}.")
    stage.seconds = time.perf_counter() - began


def accuracy(log: Path) -> float:
    """The last accuracy that a log reports."""
    return float(re.findall(r"Acc\. \(Correct/Total\): ([0-9.]+)", log.read_text(encoding="utf-8"))[-1])


def curve(model: Path) -> str:
    """The losses of a run as a line of bars, with the first and the last in figures."""
    lines = (model.with_name(f"{model.name}.run") / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines if '"loss"' in line]
    low, high = min(losses), max(losses)
    bars = (
        BARS[round((loss - low) / max(high - low, 1e-9) * 7)] for loss in losses[:: len(losses) // 24 + 1]
    )
    return f"loss {losses[0]:.2f} {''.join(bars)} {losses[-1]:.2f}"


def unigram_baseline() -> float:
    """Test accuracy of a logistic regression on single characters; its strength is chosen on dev."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    parts = {}
    for name in ("train", "dev", "test"):
        lines = (ROOT / REVIEWS / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
        labels, texts = zip(*(line.split("\t")[:2] for line in lines))
        parts[name] = (texts, labels)
    counter = CountVectorizer(analyzer="char").fit(parts["train"][0])
    table = {name: counter.transform(texts) for name, (texts, _) in parts.items()}
    fitted = [
        LogisticRegression(C=c, max_iter=2000).fit(table["train"], parts["train"][1])
        for c in (0.03, 0.1, 0.3, 1)
    ]
    best = max(fitted, key=lambda model: model.score(table["dev"], parts["dev"][1]))
    return best.score(table["test"], parts["test"][1])


def results(tour: list[Stage], out: Path, options: QuickstartOptions) -> None:
    """Fill in what each stage reached."""
    by_title = {stage.title: stage for stage in tour}
    logs = {stage.title: out / f"{number:02d}.log" for number, stage in enumerate(tour, 1)}
    from uer.data.store import Store

    for stage in tour:
        if stage.title.startswith("pre-process"):
            stage.result = f"{len(Store(out / stage.writes)):,} instances"
    by_title["pre-train"].result = curve(out / "pretrained.bin")
    by_title["pre-train a language model"].result = curve(out / "language_model.bin")
    for title in ("fine-tune a classifier", "the same without pre-training"):
        by_title[title].result = f"test accuracy {accuracy(logs[title]):.3f}"
    best = re.findall(r"Best Acc\. is: ([0-9.]+)", logs["search a grid"].read_text(encoding="utf-8"))[-1]
    by_title["search a grid"].result = f"best dev accuracy {float(best):.3f}"
    rows = len((out / "prediction.tsv").read_text(encoding="utf-8").splitlines()) - 1
    by_title["predict labels for new text"].result = f"{rows:,} labels"
    text = (out / "story_full.txt").read_text(encoding="utf-8")
    by_title["generate text"].result = f"{len(text):,} characters"


def scores_of(tour: list[Stage]) -> list[tuple[str, float]]:
    """Test accuracies: what pre-training is worth, and what a simple model reaches."""
    reached = {stage.title: stage.result.rpartition(" ")[2] for stage in tour}
    return [
        ("pre-trained, then fine-tuned", float(reached["fine-tune a classifier"])),
        ("the same model, not pre-trained", float(reached["the same without pre-training"])),
        ("logistic regression on characters", unigram_baseline()),
    ]


def first_story(out: Path) -> tuple[str, str]:
    """The first prompt, and the text that goes on from it."""
    prompt, *text = (out / "story_full.txt").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return prompt, "".join(text).removeprefix("[CLS]").removeprefix(prompt)


def next_command(name: str) -> str:
    """What may be typed next; `name`: the folder as the commands of the tour have it."""
    return (
        f"python3 inference/run_classifier_infer.py --load_model_path {name}/classifier.bin "
        "--test_path YOUR.tsv --prediction_path labels.tsv"
    )


def last_page(tour: list[Stage], out: Path, name: str, total: float, scores: list[tuple[str, float]]) -> str:
    """What was done, as a page of text."""
    width = max(len(stage.title) for stage in tour)
    page = ["", "─" * 100, " Quickstart", "─" * 100]
    for stage in tour:
        size = (out / stage.writes).stat().st_size / 1e6
        wrote = f"{stage.writes:<24} {size:6.1f} MB"
        page.append(f" {stage.title:<{width}} {stage.seconds:6.1f} s  {wrote}  {stage.result}")
    page += ["─" * 100, " Test accuracy on the bundled reviews"]
    page += [f"   {who:<34} {score:.3f}  {'█' * round(score * 50)}" for who, score in scores]
    page.append(
        " The reviews are generated by scripts/make_sample_data.py; scores compare with nothing published."
    )
    prompt, text = first_story(out)
    page += ["─" * 100, f" A text begun with '{prompt}':", f"   {prompt}{text}"]
    page += [
        "─" * 100,
        f" {total:.0f} s in all; everything is in {out}; open {out / 'report.html'} in a browser.",
        " Next: the same commands on your own text, or try:",
        f"   {next_command(name)}",
        "─" * 100,
    ]
    return "\n".join(page)


def main(argv: list[str] | None = None) -> int:
    """Run all stages and print the last page."""
    chosen = Command("scripts/quickstart.py", "The whole toolkit on small corpora.", QuickstartOptions).parse(
        argv
    )
    options = chosen[QuickstartOptions]
    out = Path(options.output_dir).resolve() if options.output_dir else ROOT / "quickstart"
    if out.is_dir() and any(out.iterdir()) and not (out / "01.log").is_file():
        raise ConfigError(f"--output_dir {out} holds other files; name a new or an empty folder.")
    remove_folder(out)
    out.mkdir(parents=True)
    name = shlex.quote(out.relative_to(ROOT).as_posix() if out.is_relative_to(ROOT) else str(out))
    tour = stages(name, options)
    began = time.perf_counter()
    for number, stage in enumerate(tour, 1):
        run_stage(stage, out / f"{number:02d}.log")
    results(tour, out, options)
    from quickstart_page import write_page

    scores = scores_of(tour)
    page = last_page(tour, out, name, time.perf_counter() - began, scores)
    (out / "report.txt").write_text(page + "\n", encoding="utf-8")
    write_page(
        out,
        stages=[(stage.title, stage.seconds, stage.writes, stage.result) for stage in tour],
        scores=scores,
        story=first_story(out),
        following=next_command(name),
    )
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
