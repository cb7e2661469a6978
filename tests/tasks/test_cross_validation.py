"""Cross validation: UER's folds and files, features that each come from a model that did not see the row."""

import json
import random

import numpy as np
import pytest
import torch

from tests.tasks.killing import Killed, kill_after
from tests.tasks.scripts import Folder, finetune, script, sentence, words
from uer.checkpoints import read_state
from uer.errors import CheckpointError, ConfigError, DataError
from uer.metrics import Confusion
from uer.tasks.cross_validation import folds, report


def test_folds_are_uers():
    assert [part.tolist() for part in folds(7, 3, "f")] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [len(part) for part in folds(10, 3, "f")] == [4, 4, 2]
    for rows, count in ((6, 3), (4, 5)):
        with pytest.raises(DataError, match=f"f: {rows} rows are too few for {count} folds"):
            folds(rows, count, "f")


def test_means_over_folds():
    one, two = Confusion(2), Confusion(2)
    one.update([0, 1, 1], [0, 1, 0])
    two.update([1, 1], [1, 1])
    macro = (one.macro_f1 + two.macro_f1) / 2
    assert report([one, two]) == ["Acc. : 0.8333", f"Marco F1 : {macro:.4f}"]


@pytest.fixture
def folder(tmp_path):
    folder, rng = Folder(tmp_path), random.Random(5)
    rows = [[i % 2, sentence(rng, 2, 4) + (" a a a" if i % 2 else " z z z")] for i in range(31)]
    folder.table("rows.tsv", ["label", "text_a"], rows)
    return folder


def train(folder, **flags):
    settings = {"dev_path": None, "train_features_path": folder / "train.npy", "folds_num": 3}
    learning = {"batch_size": 8, "epochs_num": 12, "pooling": "mean"}
    return finetune("run_classifier_cv", folder, **{**settings, **learning, **flags})


@pytest.mark.parametrize("twin", ["run_classifier_cv_infer", "run_classifier_infer_cv"])
def test_features_of_training_and_test(folder, capsys, twin):
    train(folder)
    log = capsys.readouterr().err
    features = np.load(folder / "train.npy")
    assert features.shape == (31, 2)
    np.testing.assert_allclose(features.sum(axis=1), 1, rtol=1e-5)
    gold = np.arange(31) % 2
    assert (features.argmax(axis=1) == gold).mean() >= 0.9
    accuracies = [(features[part].argmax(1) == gold[part]).mean() for part in folds(31, 3, "f")]
    assert f"INFO] Acc. : {np.mean(accuracies):.4f}" in log and "INFO] Marco F1 : " in log
    names = {path.name for path in folder.path.iterdir()}
    assert {f"model-fold_{k}.bin" for k in range(3)} < names and "model.bin" not in names
    each = []
    for number, part in enumerate(folds(31, 3, "f")):
        script("inference/run_classifier_infer").main(
            words(
                load_model_path=folder / f"model-fold_{number}.bin",
                test_path=folder / "rows.tsv",
                prediction_path=folder / "out.tsv",
                output_prob=True,
            )
        )
        each.append([[float(x) for x in row[1].split(" ")] for row in folder.read("out.tsv")[1]])
        np.testing.assert_allclose(np.array(each[-1])[part], features[part], atol=1e-5)
    capsys.readouterr()
    common = {"load_model_path": folder / "model.bin", "test_path": folder / "rows.tsv"}
    common["test_features_path"] = folder / "test"
    for typed in (None, 3):
        script(f"inference/{twin}").main(words(**common, folds_num=typed, output_prob=True))
        assert capsys.readouterr().out == "The number of prediction instances:  31\n"
        np.testing.assert_allclose(np.load(folder / "test.npy"), np.mean(each, axis=0), atol=1e-5)
    with pytest.raises(ConfigError, match=r"--folds_num is 2, but .* was trained with 3; leave it out"):
        script(f"inference/{twin}").main(words(**common, folds_num=2))


def test_64_rows_are_memorised(tmp_path):
    """Labels are drawn at random, so a fold learns nothing about its own rows; three of four know a row."""
    folder, rng = Folder(tmp_path), random.Random(6)
    rows = [[rng.choice("xyz"), sentence(rng)] for _ in range(64)]
    folder.table("rows.tsv", ["label", "text_a"], rows)
    train(folder, folds_num=4, epochs_num=60, batch_size=16, learning_rate=5e-3)
    common = {"load_model_path": folder / "model.bin", "test_path": folder / "rows.tsv", "folds_num": 4}
    script("inference/run_classifier_cv_infer").main(words(**common, test_features_path=folder / "test.npy"))
    right = np.load(folder / "test.npy").argmax(axis=1) == ["xyz".index(row[0]) for row in rows]
    assert right.mean() >= 0.95
    unseen = np.load(folder / "train.npy").argmax(axis=1) == ["xyz".index(row[0]) for row in rows]
    assert unseen.mean() < 0.6


def test_folds_of_windows(folder, capsys):
    rows = [
        [i % 2, sentence(random.Random(i), 12, 16) + (" a a a" if i % 2 else " z z z")] for i in range(31)
    ]
    folder.table("rows.tsv", ["label", "text_a"], rows)
    train(folder, overflow="window", seq_length=10, epochs_num=6)
    assert (
        "31 of 31 rows are longer than --seq_length 10 tokens; they are read in " in capsys.readouterr().err
    )
    features = np.load(folder / "train.npy")
    assert features.shape == (31, 2)
    results = json.loads((folder.path / "model.bin.run" / "results.json").read_text())["Folds"]
    each, matrix, labels = results["tables"]
    assert [row[:2] for row in each["rows"]] == [["0", 11], ["1", 11], ["2", 9]]
    right = features.argmax(axis=1) == np.arange(31) % 2
    parts = folds(31, 3, "f")
    assert [row[2] for row in each["rows"]] == pytest.approx([right[part].mean() for part in parts])
    assert results["scores"]["acc"] == pytest.approx(np.mean([right[part].mean() for part in parts]))
    assert sum(map(sum, (row[1:] for row in matrix["rows"]))) == 31
    assert [row[4] for row in labels["rows"]] == [16, 15]
    assert "Each fold" in (folder.path / "model.bin.run" / "report.html").read_text()
    common = {"load_model_path": folder / "model.bin", "test_path": folder / "rows.tsv", "folds_num": 3}
    script("inference/run_classifier_cv_infer").main(words(**common, test_features_path=folder / "test.npy"))
    assert np.load(folder / "test.npy").shape == (31, 2)
    assert "they are read in " in capsys.readouterr().err


def test_what_makes_no_sense(folder):
    with pytest.raises(ConfigError, match="--early_stopping would choose a model by the very rows"):
        train(folder, early_stopping="2")
    with pytest.raises(ConfigError, match="--overflow drop would leave rows without features"):
        train(folder, overflow="drop")
    with pytest.raises(ConfigError, match="--folds_num is 1; it must be a number greater than 1"):
        train(folder, folds_num=1)
    predict = {"test_path": folder / "rows.tsv", "test_features_path": folder / "test.npy"}
    infer = script("inference/run_classifier_cv_infer")
    with pytest.raises(CheckpointError, match=r"none\.bin does not exist; name a model file"):
        infer.main(words(**predict, load_model_path=folder / "none.bin"))
    (folder.path / "bare.bin").write_bytes(b"weights without a word of what they are")
    with pytest.raises(ConfigError, match="has no companion folder"):
        infer.main(words(**predict, load_model_path=folder / "bare.bin"))
    assert not (folder.path / "test.npy").exists()


def test_a_killed_cross_validation_goes_on_at_its_fold(folder, monkeypatch, capsys):
    """Two folds of three are trained when it is killed in the middle of the second one's last epoch."""
    flags = {"epochs_num": 2, "dropout": 0.1, "save_checkpoint_steps": 2}
    train(folder, **flags, train_features_path=folder / "whole.npy", output_model_path=folder / "whole.bin")
    with monkeypatch.context() as patch:
        kill_after(4, patch, of_run=2)
        with pytest.raises(Killed):
            train(folder, **flags)
    assert not (folder.path / "train.npy").exists()
    capsys.readouterr()
    train(folder, **flags, resume=True)
    said = capsys.readouterr().err
    assert "model-fold_0.bin is finished; nothing is left to be trained." in said
    assert "Resuming from " in said and "model-fold_1.bin-4, after 4 steps." in said
    assert (folder.path / "train.npy").read_bytes() == (folder.path / "whole.npy").read_bytes()
    for number in range(3):
        one, two = (read_state(folder / f"{name}-fold_{number}.bin") for name in ("whole", "model"))
        assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(CheckpointError, match="belongs to a run with folds_num 3, now it is 2"):
        train(folder, **flags, resume=True, folds_num=2)
    with pytest.raises(ConfigError, match="each fold has its own; type --resume alone"):
        train(folder, **flags, resume="model-fold_0.bin-4")
