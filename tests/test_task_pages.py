"""The pages of docs/tasks are true: each command runs, on small files of the kind that the page describes."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.task_commands import PREDICTED, TRAINED, check_model
from tests.tasks.scripts import script
from tests.tasks.scripts import words as typed
from uer.cli import run
from uer.utils.files import repository_root

ROOT = repository_root()
PAGES = (
    *("dbqa", "extractive_qa", "multi_label", "multi_task", "multiple_choice", "ner", "prompt"),
    *("regression", "siamese", "simcse", "text2text", "cross_validation"),
)
SIZES = {"--epochs_num": "1", "--folds_num": "2", "--seq_length": "32", "--doc_stride": "16"}
WORDS = list("书好坏的很看文笔")


def commands(page: str) -> list[list[str]]:
    """The words behind each `python3` of a page, long rows and many epochs made few."""
    text = (ROOT / "docs" / "tasks" / f"{page}.md").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"```\w*\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] != ["python3"]:
                continue
            for flag, value in SIZES.items():
                if flag in words:
                    words[words.index(flag) + 1] = value
            found.append(words[1:])
    return found


def text(draw: random.Random, low: int = 3, high: int = 9) -> str:
    """Some characters."""
    return "".join(draw.choices(WORDS, k=draw.randint(low, high)))


def table(name: str, columns: list[str], rows: list[list]) -> None:
    """A table file in the current folder."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_tables(page: str, draw: random.Random) -> None:
    """train.tsv, dev.tsv and test.tsv in the format of a page."""
    rows = range(12)
    kinds = {
        "dbqa": (
            ["qid", "label", "text_a", "text_b"],
            lambda i: [i // 4, int(i % 4 == 0), text(draw), text(draw)],
        ),
        "multi_label": (["label", "text_a"], lambda i: [["0", "0,1", "2", ""][i % 4], text(draw)]),
        "ner": (["text_a", "label"], lambda i: [" ".join(text(draw, 4, 4)), "O B-LOC I-LOC O"]),
        "regression": (["label", "text_a"], lambda i: [i / 5, text(draw)]),
        "siamese": (["label", "text_a", "text_b"], lambda i: [i % 3, text(draw), text(draw)]),
        "simcse": (["label", "text_a", "text_b"], lambda i: [i % 5, text(draw), text(draw)]),
        "text2text": (["label", "text_a"], lambda i: [text(draw), text(draw)]),
        "cross_validation": (["label", "text_a"], lambda i: [i % 2, text(draw)]),
        "prompt": (["label", "text_a"], lambda i: [i % 2, text(draw)]),
        "multi_task": (["label", "text_a"], lambda i: [i % 2, text(draw)]),
    }
    if page not in kinds:
        return
    columns, make = kinds[page]
    for part in ("train", "dev", "test"):
        for folder in ("", "datasets/one/", "datasets/two/", "datasets/douban_book_review/"):
            table(f"{folder}{part}.tsv", columns, [make(number) for number in rows])


def write_documents(draw: random.Random) -> None:
    """JSON files of questions about texts, with choices, and with blanks."""
    parts = ("train", "dev", "test")
    for part in parts:
        asked = []
        for number in range(6):
            context = text(draw, 12, 12)
            answer = {"text": context[4:6], "answer_start": 4}
            asked.append(
                {"context": context, "qas": [{"id": f"{number}", "question": "书", "answers": [answer]}]}
            )
        lines, answers = [], {}
        for number in range(6):
            tag = f"#idiom{number:06d}#"
            answers[tag] = number % 2
            lines.append(
                json.dumps({"candidates": ["好好看看", "坏坏看看"], "content": [f"书{tag}的"]}) + "\n"
            )
        Path(f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        Path(f"{part}_answers.json").write_text(json.dumps(answers), encoding="utf-8")
        choices = [
            [[text(draw)], [{"question": "书", "choice": ["好", "坏"], "answer": "好"}], str(number)]
            for number in range(6)
        ]
        Path(f"{part}.json").write_text(json.dumps({"data": [{"paragraphs": asked}]}), encoding="utf-8")
        Path(f"{part}_choices.json").write_text(json.dumps(choices), encoding="utf-8")


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The configs, and pre-trained models under the names that the pages use."""
    folder, draw = tmp_path_factory.mktemp("clone"), random.Random(5)
    for part in ("bert", "sbert", "t5"):
        shutil.copytree(ROOT / "models" / part, folder / "models" / part)
    for name in ("zh_en_vocab.txt", "prompts.json"):
        shutil.copy(ROOT / "models" / name, folder / "models" / name)
    corpus = folder / "corpus.txt"
    corpus.write_text("".join(f"{text(draw, 30, 40)}\n" for _ in range(20)), encoding="utf-8")
    for name, config, target in (("output_model", "bert/tiny", "mlm"), ("t5", "t5/small", "t5")):
        common = {"vocab_path": folder / "models" / "zh_en_vocab.txt", "dataset_path": folder / f"{name}.pt"}
        built = {"corpus_path": corpus, "data_processor": target, "seq_length": 32, **common}
        path = folder / "models" / f"{config}_config.json"
        if name == "t5":
            small = {
                "layers_num": 1,
                "decoder_layers_num": 1,
                "hidden_size": 32,
                "emb_size": 32,
                "heads_num": 2,
            }
            values = (
                json.loads(path.read_text()) | small | {"feedforward_size": 64, "attention_head_size": 16}
            )
            path.write_text(json.dumps(values))
        assert run(script("preprocess").main, typed(**built)) == 0
        trained = {
            "config_path": path,
            "output_model_path": folder / "models" / f"{name}.bin",
            "total_steps": 1,
        }
        flags = {"target": None if name == "t5" else "mlm", "batch_size": 4, **trained, **common}
        assert run(script("pretrain").main, typed(save_checkpoint_steps=1, **flags)) == 0
        for made in list((folder / "models").glob(f"{name}.bin-1*")):
            made.rename(made.with_name(made.name.replace(".bin-1", ".bin-2000")))
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(clone, page, monkeypatch, load_script, capsys):
    monkeypatch.chdir(clone)
    draw = random.Random(3)
    write_documents(draw)
    write_tables(page, draw)
    found = commands(page)
    assert found, page
    for words in found:
        name = Path(words[0]).stem
        if name in ("run_c3", "run_c3_infer"):
            words = [re.sub(r"^(train|dev|test)\.json$", r"\1_choices.json", word) for word in words]
        assert run(load_script(words[0]).main, words[1:]) == 0, shlex.join(words)
        if name in TRAINED:
            check_model(words)
        elif name in PREDICTED:
            PREDICTED[name](words)
