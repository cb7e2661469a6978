"""Fine-tuning by two workers gives the model of one; a run that was killed goes on to the same bits."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.tasks import killing
from tests.tasks.killing import kill_after
from tests.training.engine_runs import free_ports
from uer.checkpoints import read_state
from uer.cli import run
from uer.errors import ConfigError, UerError
from uer.training import loop, state
from uer.training.state import Checkpoints
from uer.training.workers import Workers

ROOT = Path(__file__).resolve().parents[2]
WORDS = [chr(code) for code in range(0x4E00, 0x4E30)]
CONFIG = {
    **{"emb_size": 16, "hidden_size": 16, "feedforward_size": 32, "heads_num": 2, "layers_num": 2},
    **{"max_seq_length": 64, "hidden_act": "gelu", "embedding": ["word", "pos", "seg"], "dropout": 0.1},
    **{"encoder": "transformer", "mask": "fully_visible", "target": ["mlm"]},
}


@pytest.fixture(autouse=True)
def made():
    """A vocabulary, a config, rows whose label is whether a word stands in them."""
    draw = random.Random(1)
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    Path("config.json").write_text(json.dumps(CONFIG))
    for name, count in (("train.tsv", 37), ("dev.tsv", 12)):
        rows = []
        for _ in range(count):
            text = "".join(draw.choices(WORDS, k=draw.randint(4, 12)))
            rows.append(f"{int(WORDS[0] in text or WORDS[1] in text or WORDS[2] in text)}\t{text}")
        Path(name).write_text("label\ttext_a\n" + "\n".join(rows) + "\n")
    for folder in ("a", "b"):
        Path(folder).mkdir()
        for name in ("train.tsv", "dev.tsv"):
            shutil.copy(name, folder)
    rows = Path("train.tsv").read_text().splitlines()[1:]
    tagged = [
        f"{' '.join('B-x' if c == WORDS[0] else 'O' for c in t)}\t{' '.join(t)}"
        for _, t in map(str.split, rows)
    ]
    Path("tags.tsv").write_text("label\ttext_a\n" + "\n".join(tagged) + "\n")


def words(output: str, *more: str, data: tuple[str, ...] = ("train.tsv", "dev.tsv")) -> list[str]:
    files = ("--train_path", data[0], "--dev_path", data[1]) if len(data) == 2 else ()
    return [
        *("--vocab_path", "vocab.txt", "--config_path", "config.json", "--output_model_path", output, *files),
        *("--epochs_num", "3", "--batch_size", "8", "--seq_length", "16", "--learning_rate", "0.01"),
        *("--report_steps", "2", "--precision", "fp32", *more),
    ]


def two_workers() -> list[str]:
    return ["--world_size", "2", "--master_ip", f"tcp://localhost:{free_ports(1)[0]}"]


def start(script: str, argv: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *argv], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def results(output: str) -> list[dict]:
    lines = (Path(f"{output}.run") / "metrics.jsonl").read_text().splitlines()
    measured = ("second", "time", "flop", "memory")
    return [
        {
            name: value
            for name, value in json.loads(line).items()
            if not any(word in name for word in measured)
        }
        for line in lines
    ]


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_workers_train_the_classifier_of_one(load_script, engine):
    script = "finetune/run_classifier.py"
    argv = ("--dropout", "0.0", "--accumulation_steps", "2")
    # 37 rows in batches of 9: the last one has one row, and the second worker none
    argv += ("--batch_size", "9")
    assert run(load_script(script).main, words("one.bin", *argv)) == 0
    said = start(script, words("two.bin", *argv, "--engine", engine, *two_workers()))
    one, two = read_state("one.bin"), read_state("two.bin")
    assert one.keys() == two.keys()
    assert all((one[name] - two[name]).abs().max() <= 1e-5 for name in one)
    for ours, theirs in zip(results("one.bin"), results("two.bin"), strict=True):
        for name in ("loss", "dev_acc", "gradient_norm", "step"):
            assert (name in ours) == (name in theirs)
            assert ours.get(name, 0) == pytest.approx(theirs.get(name, 0), rel=1e-4, abs=1e-6)
    assert len([line for line in said.splitlines() if "The best model is that of epoch" in line]) == 1
    assert not list(Path().glob("*.state"))


SCRIPTS = {
    "finetune/run_classifier.py": words("OUT", "--accumulation_steps", "2", "--early_stopping", "acc:9"),
    "finetune/run_ner.py": words("OUT", "--optimizer", "lion", data=("tags.tsv", "tags.tsv")),
    "finetune/run_regression.py": words("OUT", "--use_adv", "--scheduler", "cosine"),
    "finetune/run_classifier_multi_label.py": words("OUT", "--optimizer", "adafactor"),
    "finetune/run_classifier_mt.py": words("OUT", "--dataset_path_list", "a", "b", data=()),
}


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_killed_run_goes_on_to_the_same_bits(load_script, monkeypatch, script):
    main = load_script(script).main
    argv = [*SCRIPTS[script], "--save_checkpoint_steps", "3"]
    whole = [word.replace("OUT", "whole.bin") for word in argv]
    cut = [word.replace("OUT", "cut.bin") for word in argv]
    assert run(main, whole) == 0
    updates, inner = [], loop._Loop.update

    def update(self, window):
        updates.append(window)
        if window.span.last > 8:
            raise Killed
        inner(self, window)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "update", update)
        with pytest.raises(Killed):
            main(cut)
    assert len(Checkpoints("cut.bin").existing()) == 1
    assert run(main, [*cut, "--resume"]) == 0
    assert results("cut.bin") == results("whole.bin")
    one, two = read_state("whole.bin"), read_state("cut.bin")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert not Checkpoints("cut.bin").existing(), "the run is finished"


def killed(main, argv: list[str], step: int) -> None:
    """A run of which the first update behind a step is the last."""
    with pytest.MonkeyPatch.context() as patch:
        kill_after(step, patch)
        with pytest.raises(killing.Killed):
            main(argv)


@pytest.mark.parametrize("there", ["other.bin", "cut.bin"])
def test_a_best_model_that_is_not_there_is_not_the_best(load_script, capsys, there):
    """A run goes on under another name, or its best model was taken away."""
    main = load_script("finetune/run_classifier.py").main
    killed(main, words("cut.bin", "--save_checkpoint_steps", "3"), 12)
    Path("cut.bin").unlink()
    (left,) = Checkpoints("cut.bin").existing()
    assert run(main, words(there, "--resume", str(left), "--test_path", "dev.tsv")) == 0
    assert f"{there} does not hold the best model of that run so far (score 0." in capsys.readouterr().err
    assert Path(there).is_file()
    finished = json.loads(Path(f"{there}.run/finished.json").read_text())
    assert finished["result"]["step"] == 15


def test_workers_must_read_the_same_rows(load_script, monkeypatch):
    told = {}
    monkeypatch.setattr(Workers, "agree", lambda self, what, value: told.setdefault(what, []).append(value))
    main = load_script("finetune/run_classifier.py").main
    for text in ("1\t丁丂\n", "0\t丁丂\n"):  # as many rows of the same lengths
        Path("train.tsv").write_text("label\ttext_a\n1\t丂丁\n0\t丂\n" + text)
        assert run(main, words("out.bin")) == 0
    assert len(set(told["the content of the files"])) == 2


def test_room_for_a_checkpoint_is_looked_for_before_the_first_step(load_script, monkeypatch):
    monkeypatch.setattr(loop._Loop, "update", None)
    monkeypatch.setattr(state.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(
        UerError, match=r"out\.bin: a checkpoint takes 0 MB and 0 MB are free; free some room"
    ):
        load_script("finetune/run_classifier.py").main(words("out.bin"))


def test_a_resumed_run_has_as_many_pieces_as_before(load_script, capsys):
    main = load_script("finetune/run_classifier.py").main
    flags = ("--save_checkpoint_steps", "3", "--micro_batches")
    assert run(main, words("whole.bin", *flags, "3")) == 0
    killed(main, words("cut.bin", *flags, "3"), 8)
    assert run(main, words("cut.bin", *flags, "1", "--resume")) == 0
    assert "--micro_batches 1 has no effect: the run goes on as it began, with 3." in capsys.readouterr().err
    one, two = read_state("whole.bin"), read_state("cut.bin")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_of_fp16_goes_on_where_there_is_a_gpu(load_script, capsys, monkeypatch):
    main = load_script("finetune/run_classifier.py").main
    flags = ("--save_checkpoint_steps", "3")
    killed(main, words("cut.bin", *flags), 8)
    read = state.read_checkpoint

    def of_a_gpu(path):
        found = read(path)
        return replace(found, training={**found.training, "precision": "fp16"})

    monkeypatch.setattr(state, "read_checkpoint", of_a_gpu)
    assert run(main, words("cut.bin", *flags, "--resume")) == 2
    assert "--precision fp16 needs a GPU and this run is on the CPU" in capsys.readouterr().err


def test_a_finished_run_is_not_trained_again(load_script, capsys, monkeypatch):
    main = load_script("finetune/run_classifier.py").main
    argv = words("out.bin", "--test_path", "dev.tsv")
    assert run(main, argv) == 0
    before = capsys.readouterr().err.splitlines()[-3]  # behind it: the report, how to predict
    monkeypatch.setattr(loop._Loop, "update", None)
    assert run(main, [*argv, "--resume"]) == 0
    said = capsys.readouterr().err
    assert "out.bin is finished; nothing is left to be trained." in said
    assert said.splitlines()[-3].split("INFO]")[-1] == before.split("INFO]")[-1], "the same test"
    Path("train.tsv").write_text(Path("train.tsv").read_text() + "1\t丁丂\n")
    with pytest.raises(UerError, match="belongs to a run on another dataset"):
        main([*argv, "--resume"])


def test_checkpoints_may_be_left_out(load_script, monkeypatch):
    monkeypatch.setattr(Checkpoints, "save", None)
    argv = words("out.bin", "--save_checkpoint_steps", "0")
    assert run(load_script("finetune/run_classifier.py").main, argv) == 0
    assert not os.path.exists("out.bin-5")


@pytest.mark.parametrize(
    ("script", "flag"),
    [
        *(("run_classifier_cv", flag) for flag in (("--world_size", "2"), ("--deepspeed",))),
        *(("run_classifier_grid", flag) for flag in (("--world_size", "2"), ("--deepspeed",), ("--resume",))),
    ],
)
def test_scripts_that_train_many_models_refuse_what_is_for_one(load_script, script, flag):
    more = ("--train_features_path", "features.npy") if script.endswith("cv") else ("--dev_path", "dev.tsv")
    argv = [
        "--vocab_path",
        "vocab.txt",
        "--config_path",
        "config.json",
        "--train_path",
        "train.tsv",
        *more,
        *flag,
    ]
    with pytest.raises(UerError, match=f"{flag[0]} is for scripts that train one model"):
        load_script(f"finetune/{script}.py").main(argv)


def test_a_batch_whose_rows_are_compared_is_not_cut(load_script):
    Path("train.tsv").write_text("text_a\n" + "\n".join(WORDS) + "\n")
    with pytest.raises(ConfigError) as caught:
        load_script("finetune/run_simcse.py").main(words("out.bin", "--micro_batches", "2"))
    assert str(caught.value) == (
        "this model compares the rows of a batch with one another, so it cannot be computed in pieces; leave "
        "--micro_batches (and --batch_size auto) out."
    )
