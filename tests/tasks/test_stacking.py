"""Stacking: features of several models, LightGBM over them, the search of its parameters."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from sklearn.metrics import f1_score

from uer.cli import run
from uer.tasks.cross_validation import folds
from uer.tasks.stacking import cross_validated_f1, read_features, train


@pytest.fixture
def stack(tmp_path):
    """Three labels; of two models one knows labels 0 and 1 apart, the other label 2 from the rest."""
    draw = np.random.default_rng(3)
    for part, rows in (("train", 150), ("test", 60)):
        gold = draw.integers(0, 3, rows)
        (tmp_path / f"{part}.tsv").write_text(
            "label\ttext_a\n" + "".join(f"{label}\tx\n" for label in gold), encoding="utf-8"
        )
        first, second = (draw.dirichlet([1, 1, 1], rows).astype(np.float32) for _ in range(2))
        first[:, 0] = np.where(gold == 1, 0.1, np.where(gold == 0, 0.9, first[:, 0]))
        second[:, 2] = np.where(gold == 2, 0.9, 0.1)
        for number, values in enumerate((first, second)):
            np.save(tmp_path / f"s_{part}_features_{number}.npy", values)
        if part == "test":
            np.save(tmp_path / "gold.npy", gold)
    return tmp_path


STACK = ["--train_path", "train.tsv", "--train_features_path", "s_", "--models_num", "2"]
TEST = ["--test_path", "test.tsv", "--test_features_path", "s_"]


def test_two_half_blind_models_see_together(stack, load_script, capsys):
    assert run(load_script("scripts/run_lgb.py").main, [*STACK, *TEST, "--labels_num", "3"]) == 0
    out = capsys.readouterr().out
    correct, total = map(int, re.search(r"Acc. \(Correct/Total\): [\d.]+ \((\d+)/(\d+)\)", out).groups())
    assert total == 60 and correct >= 55
    alone = np.load(stack / "s_test_features_0.npy").argmax(axis=1)
    assert (alone == np.load(stack / "gold.npy")).sum() < 50
    train_features = read_features("s_", "train", 2, 150, "train.tsv")
    labels = np.array([int(line[0]) for line in (stack / "train.tsv").read_text().splitlines()[1:]])
    model = train({"learning_rate": 0.05}, train_features, labels, 3)
    # The parameters of a file are those that count.
    (stack / "p.json").write_text(json.dumps({"learning_rate": 0.05}))
    assert run(load_script("scripts/run_lgb.py").main, [*STACK, *TEST, "--params_path", "p.json"]) == 0
    test = read_features("s_", "test", 2, 60, "test.tsv")
    predicted = model.predict(test).argmax(axis=1)
    f1 = f1_score(np.load(stack / "gold.npy"), predicted, average="macro")
    assert f"Macro F1: {f1:.4f}" in capsys.readouterr().out


def test_the_search(stack, load_script, capsys):
    script = load_script("scripts/run_lgb_cv_bayesopt.py").main
    argv = [*STACK, "--folds_num", "3", "--epochs_num", "4", "--params_path", "best.json"]
    assert run(script, argv) == 0
    out = capsys.readouterr().out
    trials = [float(value) for value in re.findall(r"Trial \d+: macro F1 ([\d.]+)", out)]
    assert len(trials) == 4
    assert f"Best macro F1: {max(trials):.4f}" in out
    best = json.loads((stack / "best.json").read_text())
    features = read_features("s_", "train", 2, 150, "train.tsv")
    labels = np.array([int(line[0]) for line in (stack / "train.tsv").read_text().splitlines()[1:]])
    parts = folds(150, 3, "train.tsv")
    assert cross_validated_f1(best, features, labels, 3, parts) == pytest.approx(max(trials), abs=1e-4)
    assert run(script, argv) == 0 and capsys.readouterr().out == out
    assert run(script, [*argv, "--seed", "8"]) == 0 and capsys.readouterr().out != out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*STACK[:-1], "3", *TEST], "s_train_features_2.npy: does not exist; --models_num 3"),
        ([*STACK, "--test_path", "train.tsv", "--test_features_path", "s_"], "but train.tsv has 150 rows"),
        ([*STACK, *TEST, "--params_path", "none.json"], "none.json: cannot be read"),
        ([*STACK, *TEST, "--params_path", "train.tsv"], "train.tsv: is not valid JSON"),
        ([*STACK, *TEST, "--params_path", "list.json"], "must be a JSON object"),
        ([*STACK, *TEST, "--params_path", "bad.json"], "LightGBM refuses"),
        ([*STACK, *TEST, "--labels_num", "2"], "train.tsv"),
        (["--train_path", "train.tsv", "--train_features_path", "t", "--models_num", "1", *TEST], "no array"),
    ],
)
def test_faults(stack, load_script, capsys, argv, message):
    (stack / "list.json").write_text("[]")
    (stack / "bad.json").write_text('{"num_leaves": 1}')
    (stack / "ttrain_features_0.npy").write_bytes(b"none")
    assert run(load_script("scripts/run_lgb.py").main, argv) == 2
    assert message in capsys.readouterr().err
