"""`run_classifier_grid.py`: every trial once, whatever was interrupted, and the same score in any order."""

import csv
import random
import re

import pytest
import torch

from tests.tasks.scripts import Folder, finetune, script, sentence, words
from uer.config.finetune import GridOptions
from uer.errors import ConfigError, DataError, UerError
from uer.tasks import search as search_module
from uer.tasks.classifier import ClassifierModel
from uer.tasks.evaluations import Best
from uer.tasks.finetune import Finetuning
from uer.tasks.search import Setting, Trial, TrialTable, best_of, grid, search, search_key


@pytest.fixture
def folder(tmp_path):
    folder, rng = Folder(tmp_path), random.Random(1)
    rows = [[i % 2, sentence(rng) + (" a b" if i % 2 else " y z")] for i in range(48)]
    folder.table("rows.tsv", ["label", "text_a"], rows)
    return folder


def run(folder, **flags):
    lists = {"learning_rate_list": [1e-3, 3e-3], "batch_size_list": [8, 16], "epochs_num_list": [1, 2]}
    single = {"learning_rate": None, "batch_size": None, "epochs_num": None}
    return finetune("run_classifier_grid", folder, **{**single, **lists, "pooling": "mean", **flags})


def trials(folder, name="model.bin.grid.csv"):
    with open(folder / name, newline="") as file:
        rows = list(csv.DictReader(file))
    return {(float(r["learning_rate"]), int(r["batch_size"]), int(r["epochs_num"])): r["score"] for r in rows}


def test_the_whole_grid_in_uers_order_and_lines(folder, capsys):
    assert run(folder) == 0
    out, log = capsys.readouterr()
    done = trials(folder)
    assert list(done) == [
        (rate, size, epochs) for size in (8, 16) for rate in (1e-3, 3e-3) for epochs in (1, 2)
    ]
    best = max(done, key=lambda setting: float(done[setting]))
    named = dict(zip(("learning_rate", "batch_size", "epochs_num"), best))
    assert f"INFO] Best Acc. is: {float(done[best]):.4f}, on configuration {named}.\n" in log
    first = "{'learning_rate': 0.001, 'batch_size': 8, 'epochs_num': 1}"
    assert f"INFO] On configuration: {first}.\n\n" in log
    assert log.count("On configuration: ") == 8
    lines = out.splitlines()
    assert len(lines) == 9 and lines[0].split() == [
        "learning_rate",
        "batch_size",
        "epochs_num",
        "acc",
        "epoch",
        "seconds",
    ]
    assert sum(line.endswith("best") for line in lines) == 1
    assert not (folder.path / "model.bin").exists()


def test_64_rows_are_memorised_by_the_best_trial(tmp_path):
    folder, rng = Folder(tmp_path), random.Random(1)
    folder.table("rows.tsv", ["label", "text_a"], [[rng.randrange(3), sentence(rng)] for _ in range(64)])
    run(folder, learning_rate_list=[1e-5, 5e-3], batch_size_list=[16], epochs_num_list=[35])
    scores = trials(folder)
    assert float(scores[5e-3, 16, 35]) >= 0.95 > float(scores[1e-5, 16, 35])


def test_a_trial_is_the_same_alone_and_in_another_order(folder):
    run(folder)
    done = trials(folder)
    run(
        folder,
        grid_path=folder / "other.csv",
        learning_rate_list=[3e-3, 1e-3],
        batch_size_list=[16],
        epochs_num_list=[2],
    )
    for setting, score in trials(folder, "other.csv").items():
        assert done[setting] == score


def test_a_trial_is_what_run_classifier_does(folder, capsys):
    run(folder, learning_rate_list=[3e-3], batch_size_list=[16], epochs_num_list=[2])
    capsys.readouterr()
    script("finetune/run_classifier").main(
        words(
            train_path=folder / "rows.tsv",
            dev_path=folder / "rows.tsv",
            output_model_path=folder / "model.bin",
            vocab_path=folder.vocab,
            config_path=folder.config,
            learning_rate=3e-3,
            batch_size=16,
            epochs_num=2,
            pooling="mean",
            precision="fp32",
        )
    )
    (score,) = trials(folder).values()
    assert f", score {float(score):.4f}: " in capsys.readouterr().err


def test_an_interrupted_search_goes_on(folder, monkeypatch, capsys):
    original, calls = search_module._try, []

    def interrupted(setting, attempt):
        calls.append(setting)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(setting, attempt)

    monkeypatch.setattr(search_module, "_try", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    assert len(trials(folder)) == 3
    assert run(folder) == 0
    assert "3 of 8 trials are finished and not run again" in capsys.readouterr().err
    assert len(calls) == 4 + 5
    assert len(trials(folder)) == 8
    assert run(folder) == 0 and len(calls) == 9  # nothing is left to do
    run(folder, seed=8, learning_rate_list=[1e-3], batch_size_list=[8], epochs_num_list=[1])
    assert len(calls) == 10  # another search, kept in the same file
    with open(folder / "model.bin.grid.csv") as file:
        assert len(file.readlines()) == 10
    folder.table("rows.tsv", ["label", "text_a"], [[i % 2, "a b"] for i in range(48)])
    run(folder, learning_rate_list=[1e-3], batch_size_list=[8], epochs_num_list=[1])
    assert len(calls) == 11  # other rows in the file of the same name


def attempts(outcome):
    def attempt(setting):
        result = outcome(setting)
        if isinstance(result, Exception):
            raise result
        best = Best()
        best.take({"acc": result}, None, epoch=1, step=9)
        return best

    return attempt


SETTINGS = [Setting(1e-3, 8, 1), Setting(2e-3, 8, 1), Setting(3e-3, 8, 1)]


def test_a_trial_that_fails_does_not_end_the_search(tmp_path, capsys):
    table = TrialTable(tmp_path / "t.csv", "key", "acc")
    faults = {2e-3: UerError("no finite loss"), 3e-3: torch.OutOfMemoryError("CUDA out of memory\nmore")}
    best = search(SETTINGS, table, attempts(lambda setting: faults.get(setting.learning_rate, 0.5)))
    assert best.setting == SETTINGS[0]
    assert "failed      0      0.0  no finite loss" in (out := capsys.readouterr().out)
    assert "CUDA out of memory" in out and "more" not in out
    again = TrialTable(tmp_path / "t.csv", "key", "acc")
    assert list(again.done) == SETTINGS[:1]  # failed trials are tried again
    faults.clear()
    assert search(SETTINGS, again, attempts(lambda setting: setting.learning_rate)).setting == SETTINGS[0]


@pytest.mark.parametrize(("kind", "place"), [(ClassifierModel, "forward"), (Finetuning, "evaluate")])
def test_a_trial_without_memory_does_not_end_the_search(folder, monkeypatch, capsys, kind, place):
    """Wherever the memory ends: in training, or when the model is evaluated."""
    inner, calls = getattr(kind, place), []

    def greedy(*given, **more):
        calls.append(place)
        if len(calls) == 1:
            torch.empty(1 << 60, dtype=torch.uint8)
        return inner(*given, **more)

    monkeypatch.setattr(kind, place, greedy)
    assert run(folder, learning_rate_list=[1e-3], epochs_num_list=[1]) == 0
    scores = trials(folder)
    assert not scores[1e-3, 8, 1] and scores[1e-3, 16, 1]
    assert re.search("failed.*(memory ran out|out of memory)", capsys.readouterr().out)


def test_when_all_trials_fail(tmp_path):
    table = TrialTable(tmp_path / "t.csv", "key", "acc")
    with pytest.raises(UerError, match=r"all 3 trials failed; .*t.csv has the reason of each"):
        search(SETTINGS, table, attempts(lambda setting: float("nan")))
    assert "no epoch had a score that is a number" in (tmp_path / "t.csv").read_text()


def test_a_fault_of_the_user_ends_the_search(tmp_path):
    with pytest.raises(ConfigError, match="wrong"):
        search(
            SETTINGS, TrialTable(tmp_path / "t.csv", "key", "acc"), attempts(lambda _: ConfigError("wrong"))
        )
    assert not (tmp_path / "t.csv").exists()


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"t.csv: is no table of trials; name another file with --grid_path"):
        TrialTable(tmp_path / "t.csv", "key", "acc")
    table = TrialTable(tmp_path / "u.csv", "key", "acc")
    table.add(Trial(SETTINGS[0], 0.5, 1, 1.0))
    (tmp_path / "u.csv").write_text((tmp_path / "u.csv").read_text().replace("0.001", "x"))
    with pytest.raises(DataError, match="a row cannot be read"):
        TrialTable(tmp_path / "u.csv", "key", "acc")


def test_keys_follow_what_decides(tmp_path):
    (tmp_path / "rows").write_text("a")
    options = {"seed": 7, "train_path": "x", "log_level": "INFO", "learning_rate": 1.0}
    key = search_key(options, [str(tmp_path / "rows"), None], precision="fp32")
    assert key == search_key(
        {**options, "train_path": "y", "log_level": "DEBUG"}, [str(tmp_path / "rows"), None], precision="fp32"
    )
    assert key != search_key({**options, "seed": 8}, [str(tmp_path / "rows"), None], precision="fp32")
    assert key != search_key(options, [str(tmp_path / "rows"), None], precision="bf16")
    (tmp_path / "rows").write_text("b")
    assert key != search_key(options, [str(tmp_path / "rows"), None], precision="fp32")


def test_grids_and_ties():
    assert len(grid(GridOptions())) == 18
    assert grid(GridOptions())[1] == Setting(3e-5, 32, 5)
    first, second = Trial(SETTINGS[0], 0.5, 1, 1.0), Trial(SETTINGS[1], 0.5, 1, 1.0)
    assert best_of([first, second]) is first
    with pytest.raises(ConfigError, match="--batch_size_list names a value twice: 8 8"):
        GridOptions(batch_size_list=(8, 8))
    with pytest.raises(ConfigError, match="--epochs_num_list is 0"):
        GridOptions(epochs_num_list=(0,))
