"""Rows longer than a model reads, as scripts read them: in training, in prediction, in every task."""

import json
import random

import numpy as np
import pytest

from tests.tasks.scripts import LETTERS, Folder, finetune, infer, script, words
from tests.tasks.test_pairs import dual
from uer.checkpoints import read_companion


def hidden(rng, count, length=14):
    """Rows whose label stands at their end alone, behind what is read without windows."""
    rows = []
    for _ in range(count):
        label = rng.choice("yz")
        rows.append([label, " ".join([*rng.choices(LETTERS[:8], k=length), *label * 2])])
    return rows


def test_what_stands_at_the_end_is_learned(tmp_path, capsys):
    folder = Folder(tmp_path)
    folder.table("rows.tsv", ["label", "text_a"], hidden(random.Random(2), 64))
    settings = {"seq_length": 10, "pooling": "mean", "epochs_num": 25, "batch_size": 16}
    gold = [row[0] for row in folder.read("rows.tsv")[1]]

    def right():
        return np.mean([row[0] == label for row, label in zip(folder.read("out.tsv")[1], gold)])

    finetune("run_classifier", folder, overflow="window", **settings)
    log = capsys.readouterr().err
    assert (
        log.count("64 of 64 rows are longer than --seq_length 10 tokens; they are read in 192 windows") == 2
    )
    infer("run_classifier", folder)  # as the model was trained
    assert right() >= 0.95
    assert "64 of 64 rows are longer than --seq_length 10 tokens; they are read in 192 windows" in (
        capsys.readouterr().err
    )
    infer("run_classifier", folder, overflow="truncate")
    assert right() < 0.8
    assert "64 of 64 rows are longer than --seq_length 10 tokens; they were cut" in capsys.readouterr().err


QUICK = {"seq_length": 8, "epochs_num": 1, "overflow": "window"}


LONG = "a b c d e f g h i j k l m"


def table_of(folder, columns, make):
    return folder.table("rows.tsv", columns, [make(number) for number in range(8)])


SCRIPTS = {
    "run_classifier_multi_label": (["label", "text_a"], lambda i: [["", "x", "x,y"][i % 3], LONG], {}),
    "run_regression": (["label", "text_a"], lambda i: [i / 8, LONG[i:]], {}),
    "run_classifier_siamese": (
        ["label", "text_a", "text_b"],
        lambda i: [i % 2, LONG, LONG[i:]],
        {"dual": True},
    ),
    "run_classifier_prompt": (["label", "text_a"], lambda i: [i % 2, LONG[i:]], {"prompt": True}),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_reads_windows_as_it_was_trained(tmp_path, capsys, name):
    folder, (columns, make, needs) = Folder(tmp_path), SCRIPTS[name]
    table_of(folder, columns, make)
    flags = dict(QUICK)
    if "dual" in needs:
        flags["config_path"] = dual(folder)
    if "prompt" in needs:
        prompts = {"mine": {"template": "[TEXT_A][ANS]", "answer_words": {"0": "a", "1": "b"}}}
        flags |= {"prompt_path": folder.write("p.json", json.dumps(prompts)), "prompt_id": "mine"}
    finetune(name, folder, test_path=folder / "rows.tsv", **flags)
    assert capsys.readouterr().err.count("they are read in ") == 3
    assert read_companion(folder / "model.bin").extra["overflow"] == "window"
    infer(name, folder)
    assert "they are read in " in capsys.readouterr().err and len(folder.read("out.tsv")[1]) == 8
    infer(name, folder, overflow="truncate")
    assert "they were cut on the right" in capsys.readouterr().err


def test_dbqa_and_several_data_sets(tmp_path, capsys):
    folder = Folder(tmp_path)
    table_of(
        folder, ["qid", "label", "text_a", "text_b"], lambda i: [i // 4, int(i % 4 == 0), "a b", LONG[i:]]
    )
    finetune("run_dbqa", folder, **QUICK)
    assert capsys.readouterr().err.count("they are read in ") == 2
    (tmp_path / "one").mkdir()
    for name in ("train", "dev"):
        folder.table(f"one/{name}.tsv", ["label", "text_a"], [[i % 2, LONG[i:]] for i in range(8)])
    settings = {"dataset_path_list": [folder / "one"], "output_model_path": folder / "model.bin"}
    settings |= {
        "vocab_path": folder.vocab,
        "config_path": folder.config,
        "batch_size": 4,
        "precision": "fp32",
    }
    script("finetune/run_classifier_mt").main(words(**settings, **QUICK))
    infer("run_classifier_mt", folder, "one/dev.tsv")
    assert capsys.readouterr().err.count("they are read in ") == 3
    assert len(folder.read("out.tsv")[1]) == 8


def test_c3_reads_windows(tmp_path, capsys):
    folder = Folder(tmp_path)
    documents = [
        [[LONG.replace(" ", "")], [{"question": "q", "choice": ["a", "b"], "answer": "ab"[i % 2]}], str(i)]
        for i in range(8)
    ]
    folder.write("rows.json", json.dumps(documents))
    finetune("run_c3", folder, "rows.json", tokenizer="char", **QUICK | {"seq_length": 12})
    assert (
        capsys.readouterr().err.count("8 of 8 questions are longer than --seq_length 12 tokens; they are")
        == 2
    )
    infer("run_c3", folder, "rows.json")
    assert "they are read in 24 windows" in capsys.readouterr().err
    assert len((tmp_path / "out.tsv").read_text().splitlines()) == 8
    infer("run_c3", folder, "rows.json", overflow="truncate")
    assert "they were cut on the right" in capsys.readouterr().err
