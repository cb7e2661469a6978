"""A run of any downstream script that was killed in the middle of an epoch goes on to the same bits."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from tests.tasks.killing import Killed, kill_after
from tests.tasks.scripts import TINY, Folder, finetune, sentence
from tests.tasks.test_choice import TAG, c3_rows
from tests.tasks.test_dbqa import COLUMNS
from tests.tasks.test_dbqa import generated as dbqa_rows
from tests.tasks.test_extractive_qa import generated as questions
from tests.tasks.test_pairs import dual
from tests.tasks.test_text2text import generated as pairs
from tests.tasks.test_uie import generated as uie_rows
from uer.checkpoints import read_state
from uer.training.state import Checkpoints
from uer.utils.files import repository_root

MEASURED = ("second", "time", "flop", "memory")


def rows(folder: Folder, rng: random.Random, columns: list[str]) -> None:
    """A table whose labels, where there are any, are 0 and 1."""
    made = {"label": lambda number: number % 2}
    table = [[made.get(name, lambda _: sentence(rng))(number) for name in columns] for number in range(30)]
    folder.table("rows.tsv", columns, table)


def two_texts(folder: Folder, rng: random.Random) -> dict:
    rows(folder, rng, ["label", "text_a", "text_b"])
    return {"config_path": dual(folder, dropout=0.1), "scheduler": "cosine"}


def one_text_twice(folder: Folder, rng: random.Random) -> dict:
    rows(folder, rng, ["label", "text_a", "text_b"])
    train = folder.table("train.tsv", ["text_a"], [[sentence(rng)] for _ in range(30)])
    return {"train_path": train, "pooling": "mean", "optimizer": "lion"}


def answered(folder: Folder, rng: random.Random) -> dict:
    folder.table("rows.tsv", COLUMNS, dbqa_rows(rng, 8))
    return {"class_weights": True, "accumulation_steps": 2}


def prompted(folder: Folder, rng: random.Random) -> dict:
    rows(folder, rng, ["label", "text_a"])
    words = {"mine": {"template": "[TEXT_A] x [ANS]", "answer_words": {"0": "a", "1": "b"}}}
    return {"prompt_path": folder.write("prompts.json", json.dumps(words)), "prompt_id": "mine"}


def spans(folder: Folder, rng: random.Random) -> dict:
    folder.write("rows.tsv", json.dumps(questions(rng, 24)))
    return {"seq_length": 14, "doc_stride": 5, "max_answer_length": 4, "optimizer": "adafactor"}


def choices(folder: Folder, rng: random.Random) -> dict:
    folder.write("rows.tsv", json.dumps(c3_rows(rng, 24)))
    return {"tokenizer": "char", "seq_length": 20, "micro_batches": 2}


def idioms(folder: Folder, rng: random.Random) -> dict:
    lines, answers = [], {}
    for number in range(24):
        candidates = ["".join(rng.choices("abcdefghij", k=4)) for _ in range(3)]
        answers[TAG(number)] = rng.randrange(3)
        lines.append({"candidates": candidates, "content": [f"{sentence(rng)} {TAG(number)}"]})
    folder.write("rows.tsv", "".join(json.dumps(line) + "\n" for line in lines))
    gold = folder.write("gold.json", json.dumps(answers))
    return {"train_answer_path": gold, "dev_answer_path": gold, "seq_length": 24}


def sequences(folder: Folder, rng: random.Random) -> dict:
    more = {"decoder": "transformer", "tgt_embedding": ["word", "pos"], "embedding": ["word", "pos"]}
    more |= {"tie_weights": True, "share_embedding": True, "decoder_layers_num": 1, "dropout": 0.1}
    folder.config = folder.write("config.json", json.dumps({**TINY, **more}))
    folder.table("rows.tsv", ["label", "text_a"], pairs(rng, 30))
    return {"tokenizer": "space", "seq_length": 10, "tgt_seq_length": 10, "use_adv": True, "adv_type": "pgd"}


def prompts(folder: Folder, rng: random.Random) -> dict:
    folder.write("rows.tsv", "".join(json.dumps(line) + "\n" for line in uie_rows(rng, 10)))
    return {"tokenizer": "char", "seq_length": 30, "accumulation_steps": 2}


CASES = {
    "run_classifier_siamese": two_texts,
    "run_simcse": one_text_twice,
    "run_dbqa": answered,
    "run_classifier_prompt": prompted,
    "run_cmrc": spans,
    "run_c3": choices,
    "run_chid": idioms,
    "run_text2text": sequences,
    "run_uie": prompts,
}
# in test_workers.py, test_cross_validation.py, test_run_classifier_grid.py; a second name of run_classifier
ELSEWHERE = {
    *("run_classifier", "run_ner", "run_regression", "run_classifier_multi_label", "run_classifier_mt"),
    *("run_classifier_cv", "run_classifier_grid", "run_classifier_deepspeed"),
}


def reported(output: Path) -> list[dict]:
    """The figures of a run but for what was measured."""
    lines = (output.with_name(f"{output.name}.run") / "metrics.jsonl").read_text().splitlines()
    return [
        {name: x for name, x in json.loads(line).items() if not any(word in name for word in MEASURED)}
        for line in lines
    ]


def test_no_script_is_missing():
    scripts = {path.stem for path in (repository_root() / "finetune").glob("run_*.py")}
    assert scripts == {*CASES} | ELSEWHERE


@pytest.mark.parametrize("script", CASES)
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, monkeypatch, script):
    folder = Folder(tmp_path)
    folder.config = folder.write("config.json", json.dumps({**TINY, "dropout": 0.1}))
    flags = {**CASES[script](folder, random.Random(5)), "batch_size": 8, "epochs_num": 2}
    flags |= {"save_checkpoint_steps": 2, "report_steps": 1}
    whole, cut = tmp_path / "whole.bin", tmp_path / "cut.bin"
    assert finetune(script, folder, output_model_path=whole, **flags) == 0
    with monkeypatch.context() as patch:
        kill_after(3, patch)
        with pytest.raises(Killed):
            finetune(script, folder, output_model_path=cut, **flags)
    (left,) = Checkpoints(cut).existing()
    assert left.name == "cut.bin-2", "an epoch has more batches than that"
    assert finetune(script, folder, output_model_path=cut, resume=True, **flags) == 0
    assert reported(cut) == reported(whole) and len(reported(whole)) >= 6
    one, two = read_state(whole), read_state(cut)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert not Checkpoints(cut).existing(), "the run is finished"
