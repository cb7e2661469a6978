"""The pages of docs/tasks are true: each command runs, on the sets that ship and on real data."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from tests.task_commands import PREDICTED, TRAINED, check_model, typed_commands
from tests.tasks.scripts import script
from tests.tasks.scripts import words as typed
from uer.cli import run
from uer.utils.files import repository_root

ROOT = repository_root()
PAGES = (
    *("classifier", "dbqa", "extractive_qa", "multi_label", "multi_task", "multiple_choice", "ner", "prompt"),
    *("regression", "siamese", "simcse", "text2text", "cross_validation", "uie"),
)
FURTHER = ("distillation", "lora", "search")
"""pages of ways to train, not of tasks"""
REAL_PAGES = ("classifier", "extractive_qa", "multiple_choice", "ner", "text2text")
SIZES = {
    "--epochs_num": "1",
    "--trials_num": "2",
    "--folds_num": "2",
    "--seq_length": "32",
    "--doc_stride": "16",
}
FEW, TEXTS = 24, 4
"""rows that are kept of a file, and texts of a document of questions"""


def blocks(page: str, *, real: bool) -> list[str]:
    """The blocks of a page that read real data, or the others."""
    text = (ROOT / "docs" / "tasks" / f"{page}.md").read_text(encoding="utf-8")
    every = re.findall(r"```\w*\n(.*?)```", text, re.S)
    return [block for block in every if "python3 " in block and ("$DATA" in block) == real]


def smaller(words: list[str]) -> list[str]:
    """Long rows and many epochs made few."""
    out = list(words)
    for flag, value in SIZES.items():
        for place in (place for place, word in enumerate(words) if word == flag):
            out[place + 1] = value
    return out


def shorter(source: Path, target: Path) -> None:
    """The head of a file; of a JSON document the first entries."""
    text = source.read_text(encoding="utf-8")
    if source.suffix != ".json":
        text = "".join(text.splitlines(keepends=True)[: FEW + 1])
    elif isinstance(whole := json.loads(text), list):
        text = json.dumps(whole[:FEW], ensure_ascii=False)
    elif "data" in whole:
        texts = [entry for document in whole["data"][:TEXTS] for entry in document["paragraphs"][:TEXTS]]
        text = json.dumps({"data": [{"paragraphs": texts[:TEXTS]}]}, ensure_ascii=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The configs, the sets that ship, and pre-trained models under the names that the pages use."""
    folder = tmp_path_factory.mktemp("clone")
    for part in ("bert", "t5"):
        shutil.copytree(ROOT / "models" / part, folder / "models" / part)
    for name in ("zh_en_vocab.txt", "prompts.json"):
        shutil.copy(ROOT / "models" / name, folder / "models" / name)
    corpus = folder / "corpora" / "book_review.txt"
    for source in chain((ROOT / "datasets").rglob("*.*"), (ROOT / "corpora").glob("book_review.txt")):
        shorter(source, folder / source.relative_to(ROOT))
    models = (("output_model", "bert", "mlm", 2000), ("t5", "t5", "t5", 1000))
    for name, config, objective, step in models:
        common = {"vocab_path": folder / "models" / "zh_en_vocab.txt", "dataset_path": folder / f"{name}.pt"}
        built = {"corpus_path": corpus, "data_processor": objective, "seq_length": 32, **common}
        assert run(script("preprocess").main, typed(**built)) == 0
        trained = {
            "config_path": folder / "models" / config / "tiny_config.json",
            "output_model_path": folder / "models" / f"{name}.bin",
            "total_steps": 1,
        }
        target = None if config == "t5" else objective
        flags = {"target": target, "batch_size": 4, "save_checkpoint_steps": 1, **trained, **common}
        assert run(script("pretrain").main, typed(**flags)) == 0
        for made in list((folder / "models").glob(f"{name}.bin-1*")):
            made.rename(made.with_name(made.name.replace(".bin-1", f".bin-{step}", 1)))
    return folder


def carry_out(found: list[list[str]], load_script: Callable) -> None:
    """Run the commands of a page, and look at what each leaves."""
    assert found
    for words in map(smaller, found):
        if words[0].startswith("benchmarks/"):
            continue  # they have tests of their own
        assert run(load_script(words[0]).main, words[1:]) == 0, shlex.join(words)
        name = Path(words[0]).stem
        if name in TRAINED:
            check_model(words)
        elif name in PREDICTED:
            PREDICTED[name](words)
        elif name == "run_classifier_grid":
            path = Path(words[words.index("--output_model_path") + 1])
            assert (
                "2 of 2 trials" in path.with_name(f"{path.name}.search").joinpath("search.html").read_text()
            )


@pytest.mark.parametrize("page", [*PAGES, *FURTHER])
def test_the_commands_of_a_page_run(clone, page, monkeypatch, load_script):
    monkeypatch.chdir(clone)
    carry_out(typed_commands(blocks(page, real=False)), load_script)


@pytest.fixture(scope="module")
def data(tmp_path_factory, shared) -> Path:
    """The heads of the real files; a training file that is absent is the head of the development file."""
    folder, source = tmp_path_factory.mktemp("data"), shared / "data"
    for file in chain((source / "datasets").rglob("*.*"), (source / "corpora").glob("news*")):
        if file.name == "labels.json":
            continue
        target = folder / file.relative_to(source)
        shorter(file, target)
        if file.name.startswith("dev.") and not file.with_name(f"train{file.suffix}").exists():
            shutil.copy(target, target.with_name(f"train{file.suffix}"))
    return folder


@pytest.mark.parametrize("page", REAL_PAGES)
def test_the_commands_for_real_data_run(clone, data, page, monkeypatch, load_script):
    monkeypatch.chdir(clone)
    carry_out(typed_commands(blocks(page, real=True), DATA=str(data)), load_script)


def test_every_page_of_real_data_is_run():
    held = [page for page in PAGES if blocks(page, real=True)]
    assert tuple(sorted(held)) == tuple(sorted(REAL_PAGES))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_is_read_written_and_scored(page):
    text = (ROOT / "docs" / "tasks" / f"{page}.md").read_text(encoding="utf-8")
    heads = " ".join(re.findall(r"^## (.*)$", text, re.M))
    for wanted in ("Input", r"Commands?\b", "Metric", "What to expect", r"Output|Prediction|Command"):
        assert re.search(wanted, heads), (page, wanted)
    assert "python3 inference/" in text and "python3 finetune/" in text
