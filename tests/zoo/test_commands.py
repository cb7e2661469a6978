"""The lines of docs/zoo.md run as they are typed, on a tiny folder of each family."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.checkpoints.folders import make as make_theirs
from tests.checkpoints.folders import rows_of
from tests.zoo.commands import LOAD, fine_tune, pre_train
from tests.zoo.families import FAMILIES
from tests.zoo.test_downstream import FOLDERS, make
from uer.checkpoints import read_companion, read_state
from uer.utils.files import repository_root

TEXT = "我 很 喜 欢 这 本 书\n不 好 a very bad book\n\nthe good book\nb c a 好 书 很\n\n"
SMALL = {"hidden_size": 32, "emb_size": 32, "feedforward_size": 64, "heads_num": 4, "layers_num": 1}


def files_of(number: str, folder: Path) -> None:
    """The folder and the user's files."""
    family = next(family for family in FAMILIES if family.id == number)
    key_map = next((name for name in family.maps if name in FOLDERS), None)
    if key_map is None:
        make_theirs(family.maps[0], "ForMaskedLM", folder / "FOLDER")
    else:
        make(key_map, folder / "FOLDER")
    labelled = "0\t好 书\n1\t不 好\n" * 12 if number == "F65" else TEXT * 12
    (folder / "corpus.txt").write_text(labelled, encoding="utf-8")
    (folder / "texts.txt").write_text("我 很 喜 欢\nthe good book\n", encoding="utf-8")
    (folder / "similar.txt").write_text("好\t坏\nbook\tgood\n", encoding="utf-8")
    (folder / "entities.txt").write_text("喜 欢\n书\ngood book\n", encoding="utf-8")
    (folder / "polarity.txt").write_text("好\tpositive\nbad\tnegative\ngood\tpositive\n", encoding="utf-8")
    answers = [{"text": "好", "start": 2, "end": 3}]
    row = json.dumps({"content": "不 好 书", "prompt": "书", "result_list": answers}, ensure_ascii=False)
    for name in ("train", "dev"):
        rows_of(folder / f"{name}.tsv")
        (folder / f"{name}.txt").write_text(f"{row}\n", encoding="utf-8")
        if number == "F21":
            (folder / f"{name}.tsv").write_text("text_a\tlabel\n不 好 书\tO B O\n", encoding="utf-8")


def small_config(words: list[str], folder: Path) -> list[str]:
    """The same command with a configuration of the same parts, and sizes of a test."""
    if "--config_path" not in words:
        return words
    at = words.index("--config_path") + 1
    values = json.loads((repository_root() / words[at]).read_text(encoding="utf-8"))
    values.update({**SMALL, "max_seq_length": 64})
    if "generator" in values:
        values["generator"] = {
            **values["generator"],
            "hidden_size": 16,
            "feedforward_size": 32,
            "heads_num": 2,
        }
    (folder / "small.json").write_text(json.dumps(values))
    return [*words[:at], "small.json", *words[at + 1 :]]


@pytest.mark.slow
@pytest.mark.parametrize("number", [family.id for family in FAMILIES])
def test_load_fine_tune_and_pre_train(number, tmp_path, load_script):
    files_of(number, tmp_path)

    def typed(line: str, *more: str) -> None:
        words = small_config(shlex.split(line), tmp_path)
        assert not load_script(words[0]).main([*words[1:], *more]), line

    typed(LOAD)
    assert np.load("vectors.npy").shape == (2, 32)
    typed(fine_tune(number), "--output_model_path", "tuned.bin", "--epochs_num", "1", "--seq_length", "32")
    assert read_companion("tuned.bin").extra["task"] in ("classifier", "uie", "ner")
    data, train = pre_train(number)
    typed(data, "--processes_num", "1", "--seq_length", "24")
    sizes = ("--total_steps", "2", "--save_checkpoint_steps", "2", "--batch_size", "4")
    typed(train, *sizes)
    assert all(np.isfinite(tensor.numpy()).all() for tensor in read_state("model.bin-2").values())
