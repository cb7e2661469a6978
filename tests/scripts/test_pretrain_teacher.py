"""Distillation and token contrast from real text to a student: DistilBERT, TinyBERT, TaCL, ERNIE 3.0."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import preprocess
import pretrain
from uer.checkpoints import read_companion, read_state, write_state
from uer.checkpoints.layers import take_layers
from uer.cli import run
from uer.data.batch import IGNORE
from uer.data.pretrain_data import PretrainData
from uer.data.store import Store

SIZES = {
    "emb_size": 32,
    "hidden_size": 32,
    "feedforward_size": 64,
    "heads_num": 2,
    "layers_num": 4,
    "max_seq_length": 64,
    "dropout": 0.0,
    "tie_weights": True,
}


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory) -> Path:
    """A dataset of real text, a teacher that learnt it, and a student of two of its layers."""
    folder = tmp_path_factory.mktemp("teacher")
    corpus = shared / "data" / "corpora" / "CLUECorpusSmall_bert_sampled.txt"
    lines = corpus.read_text(encoding="utf-8").split("\n")[:40]
    (folder / "corpus.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    chars = dict.fromkeys(char for char in "".join(lines).lower() if not char.isspace())
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *chars]) + "\n", encoding="utf-8"
    )
    (folder / "teacher.json").write_text(json.dumps(SIZES))
    (folder / "student.json").write_text(json.dumps({**SIZES, "layers_num": 2}))
    data = ["--corpus_path", f"{folder}/corpus.txt", "--vocab_path", f"{folder}/vocab.txt"]
    preprocess.main([*data, "--dataset_path", f"{folder}/d.pt", "--seq_length", "40", "--dup_factor", "1"])
    train(folder, folder / "teacher.bin", "teacher", 120, "--target", "mlm", "sp")
    state, companion = take_layers(folder / "teacher.bin-120", (2, 4))
    write_state(folder / "student.bin", state, **companion.settings())
    return folder


def train(folder: Path, output: Path | str, config: str, steps: int, *words: str) -> list[dict]:
    """Pre-train; the figures of each report."""
    pretrain.main(
        [
            *("--dataset_path", f"{folder}/d.pt", "--vocab_path", f"{folder}/vocab.txt"),
            *("--config_path", f"{folder}/{config}.json", "--output_model_path", str(output)),
            *("--batch_size", "16", "--learning_rate", "5e-3", "--precision", "fp32"),
            *("--total_steps", str(steps), "--save_checkpoint_steps", str(steps), "--report_steps", "10"),
            *words,
        ]
    )
    return [json.loads(line) for line in Path(f"{output}.run/metrics.jsonl").read_text().splitlines()]


def taught(folder: Path, *words: str, steps: int = 30, student: bool = False) -> list[dict]:
    start = ["--pretrained_model_path", f"{folder}/student.bin"] if student else []
    return train(
        folder, "s.bin", "student", steps, "--teacher_path", f"{folder}/teacher.bin-120", *start, *words
    )


def entropy_of_hidden_tokens(folder: Path) -> float:
    batch = PretrainData(Store(folder / "d.pt"), batch_size=16).objective
    store = Store(folder / "d.pt")
    labels = batch.batch(store, np.arange(len(store)), np.random.default_rng(0)).labels["mlm"]
    counts = np.bincount(labels[labels != IGNORE])
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def test_distilbert(folder):
    """Half of the teacher's layers to start with, and its three losses with their published weights."""
    words = ["--target", "mlm", "soft", "cosine", "--target_weights", "2", "5", "1"]
    records = taught(folder, *words, student=True)
    first, last = records[0], records[-1]
    assert last["loss_soft"] < 0.5 * first["loss_soft"] and last["loss_cosine"] < 0.85 * first["loss_cosine"]
    assert last["loss_mlm"] < entropy_of_hidden_tokens(folder)
    assert last["acc_soft"] > first["acc_soft"] and "acc_cosine" not in last  # cosines are not right or wrong
    mixed = 2 * last["loss_mlm"] + 5 * last["loss_soft"] + last["loss_cosine"]
    assert last["loss"] == pytest.approx(mixed, rel=1e-4)
    saved, companion = read_state("s.bin-30"), read_companion("s.bin-30")
    assert not [name for name in saved if name.startswith("teacher")]
    assert companion.config.target == ("mlm",) and companion.config.teacher is None
    assert companion.config.layers_num == 2


def test_the_temperature_is_a_flag(folder):
    losses = [
        taught(folder, "--target", "mlm", "soft", "--soft_temperature", value, steps=1, student=True)[0]
        for value in ("1", "4")
    ]
    assert losses[0]["loss_mlm"] == pytest.approx(losses[1]["loss_mlm"], rel=1e-5)
    assert losses[0]["loss_soft"] != pytest.approx(losses[1]["loss_soft"], rel=0.05)


def test_tinybert(folder):
    """General distillation: states and scores only, no head, nothing hidden needs to be guessed."""
    first, *_, last = taught(folder, "--target", "states", "scores", steps=40)
    assert last["loss_states"] < 0.6 * first["loss_states"]
    assert last["loss_scores"] < 0.8 * first["loss_scores"]
    saved, companion = read_state("s.bin-40"), read_companion("s.bin-40")
    assert companion.config.target == () and "target.states.linear.weight" in saved
    other = taught(folder, "--target", "states", "--teacher_layers", "1", "2", steps=1)
    assert other[0]["loss_states"] != pytest.approx(
        taught(folder, "--target", "states", steps=1)[0]["loss_states"], rel=1e-3
    )


def test_attention_of_the_last_layer(folder):
    first, *_, last = taught(folder, "--target", "attention", "states", steps=30)
    assert last["loss_attention"] < 0.8 * first["loss_attention"]


def test_tacl(folder):
    """Hidden tokens find their place better than chance, which is the logarithm of a row's length."""
    start = ["--pretrained_model_path", f"{folder}/teacher.bin-120"]
    words = ["--teacher_path", f"{folder}/teacher.bin-120", "--target", "mlm", "sp", "contrast"]
    records = train(folder, "t.bin", "teacher", 16, *start, *words)
    lengths = PretrainData(Store(folder / "d.pt"), batch_size=16).mean_tokens
    assert records[-1]["loss_contrast"] < 0.8 * math.log(lengths)
    assert records[-1]["loss_mlm"] < entropy_of_hidden_tokens(folder)


def test_a_run_goes_on_with_its_teacher(folder):
    """The teacher is read again from its own file; the numbers are those of an undisturbed run."""
    words = ["--target", "mlm", "soft", "states", "--ema_decay", "0.9"]
    whole = taught(folder, *words, "--save_total_limit", "3", steps=8, student=True)
    undisturbed = read_state("s.bin-8")
    common = ["--save_checkpoint_steps", "4", *words]
    taught(folder, *common, steps=8, student=True)
    for name in ("s.bin-8", "s.ema.bin-8"):
        Path(name).unlink()
    taught(folder, *common, "--resume", "s.bin-4", steps=8, student=True)
    resumed = read_state("s.bin-8")
    assert all(torch.equal(x, undisturbed[name]) for name, x in resumed.items())
    assert whole[-1]["loss"] > 0


def test_predictions_of_each_term_are_counted_ahead(folder):
    """What a window divides by is known without the model, for teachers and students alike."""
    store = Store(folder / "d.pt")
    taught = ("soft", "contrast", "attention_0", "mlm_1", "sp_1")
    counts = PretrainData(store, batch_size=16, taught=taught).get(0).counts
    batch = PretrainData(store, batch_size=16).get(0)
    tokens = int((batch.inputs["seg"] > 0).sum())
    hidden = int((batch.labels["mlm"] != IGNORE).sum())
    wanted = {"soft": tokens, "attention_0": tokens, "contrast": hidden, "mlm_1": hidden, "sp_1": 16}
    assert counts == {**batch.counts, **wanted}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "mlm", "soft"], "learns from a teacher; name its weights with --teacher_path"),
        (
            ["--target", "mlm", "sp", "--teacher_path", "x"],
            "--teacher_path has no meaning for --target mlm sp",
        ),
        (
            ["--target", "cls", "soft", "--labels_num", "2", "--teacher_path", "x"],
            "has labels for --target mlm sp, not for cls soft",
        ),
        (["--target", "mlm", "soft", "--teacher_path", "none.bin"], "none.bin"),
    ],
)
def test_faults(folder, capsys, words, message):
    common = ["--dataset_path", f"{folder}/d.pt", "--vocab_path", f"{folder}/vocab.txt"]
    common += ["--config_path", f"{folder}/student.json", "--output_model_path", "s.bin", "--batch_size", "4"]
    assert run(pretrain.main, [*common, *words]) == 2
    assert message in capsys.readouterr().err


def test_students_learn_while_the_model_learns(folder, load_script):
    """ERNIE 3.0's on-line distillation: one run, a teacher that learns real text, two students of it."""
    students = [{"layers_num": 1}, {"layers_num": 2, "target": ["attention", "states", "mlm"]}]
    config = {**SIZES, "target": ["mlm", "sp", "students"], "students": students}
    (folder / "online.json").write_text(json.dumps(config))
    records = train(
        folder, "online.bin", "online", 120, "--pretrained_model_path", f"{folder}/teacher.bin-120"
    )
    first, last = records[0], records[-1]
    for name in ("attention_0", "states_0", "attention_1", "states_1"):
        assert last[f"loss_{name}"] < 0.8 * first[f"loss_{name}"], name
    assert last["loss_mlm"] < entropy_of_hidden_tokens(folder)
    main = load_script("scripts/take_layers.py").main
    words = ["--load_model_path", "online.bin-120", "--student", "1", "--output_model_path", "small.bin"]
    assert run(main, words) == 0
    assert read_companion("small.bin").config.target == ("mlm",)
    assert run(main, [*words[:2], *words[4:]]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "targets", [("mlm", "soft", "states", "scores", "attention"), ("scores",), ("students",)]
)
def test_two_workers_have_the_losses_of_one(folder, targets):
    """Frozen teachers and students under DDP and FSDP; some weights may get no gradient."""
    words = ["--target", *targets, "--report_steps", "1"]
    if targets == ("students",):
        students = [{"layers_num": 1, "target": ["attention"]}, {"layers_num": 2}]
        config = {**SIZES, "target": ["mlm", "sp", "students"], "students": students}
        (folder / "online.json").write_text(json.dumps(config))
        words = ["--config_path", f"{folder}/online.json", "--report_steps", "1"]
    else:
        words += ["--teacher_path", f"{folder}/teacher.bin-120"]
    losses = []
    for more in (
        ["--batch_size", "16"],
        ["--batch_size", "8", "--world_size", "2", "--backend", "gloo"],
        ["--batch_size", "8", "--world_size", "2", "--backend", "gloo", "--engine", "fsdp"],
    ):
        records = train(folder, "w.bin", "student", 3, *words, *more)
        losses.append([record["loss"] for record in records])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and losses[2] == pytest.approx(losses[0], rel=1e-4)
