"""Regression: UER-py's numbers, faulty files, and the scripts."""

import json
import random

import numpy as np
import pytest
import torch
from scipy import stats

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import Folder, finetune, infer, script, sentence
from uer.errors import DataError
from uer.tasks.body import task_body
from uer.tasks.predict import evaluate
from uer.tasks.regression import RegressionModel, RegressionTask
from uer.training.precision import Precision


@pytest.fixture
def golden(shared, tmp_path):
    return Golden(shared, "regression", tmp_path)


@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last"])
def test_numbers_and_loss_are_uers(golden, pooling):
    task = RegressionTask(golden.tokenizer(), seq_length=12)
    examples = task.read(golden.tsv(), training=True)
    batch = task.collate(examples, np.arange(6))
    inputs, labels = tensors(batch.inputs), tensors(batch.labels)
    assert torch.equal(inputs["src"], golden["in.src"]) and torch.equal(inputs["seg"], golden["in.seg"])
    close(labels["cls"], golden["in.tgt"], 0, 0)
    model = golden.load(RegressionModel(task_body(golden.config(), 120), 1, pooling=pooling))
    close(model.logits(inputs), golden[f"out.{pooling}.logits"])
    term = model(inputs, labels)["cls"]
    close(term.loss_sum / term.count, golden[f"out.{pooling}.loss"], 2e-6)
    if pooling == "first":
        metric = evaluate(model, task, examples, batch_size=4, precision=Precision("fp32"))
        assert metric.scores()["spearman"] == pytest.approx(float(golden["out.first.spearman"]), abs=1e-9)
        assert metric.report()[-1:] == golden.facts["lines"]


@pytest.mark.parametrize("label", ["", "x", "inf", "nan", "1,5"])
def test_a_label_that_is_no_number(golden, tmp_path, label):
    path = tmp_path / "t.tsv"
    path.write_text(f"label\ttext_a\n1.5\ta\n{label}\ta\n")
    with pytest.raises(
        DataError, match=f"t.tsv:3: the column 'label' holds '{label}', which is no finite number"
    ):
        RegressionTask(golden.tokenizer(), seq_length=12).read(path)


def test_labels_that_do_not_differ_have_no_correlation(tmp_path, capsys):
    folder, rng = Folder(tmp_path), random.Random(4)
    folder.table("rows.tsv", ["label", "text_a"], [[1, sentence(rng)] for _ in range(20)])
    finetune("run_regression", folder, test_path=folder / "rows.tsv", epochs_num=1)
    said = capsys.readouterr().err
    assert "Spearman corr: nan" in said
    assert "No evaluation had a score that is a number, so none is the best; the last one is saved." in said
    results = json.loads((tmp_path / "model.bin.run" / "results.json").read_text(encoding="utf-8"))
    assert list(results) == ["Development, the best evaluation", "Test"]
    assert all(result["scores"]["spearman"] is None for result in results.values())
    assert (tmp_path / "model.bin.run" / "report.html").is_file()
    assert infer("run_regression", folder) == 0


def test_a_faulty_test_file_stops_the_run_before_it_is_trained(tmp_path):
    folder, rng = Folder(tmp_path), random.Random(4)
    folder.table("rows.tsv", ["label", "text_a"], [[1, sentence(rng)] for _ in range(20)])
    faulty = folder.table("faulty.tsv", ["label", "text_a"], [[1, "a"], ["x", "b"]])
    with pytest.raises(DataError, match=r"faulty.tsv:3: "):
        finetune("run_regression", folder, test_path=faulty, epochs_num=1)
    assert not (tmp_path / "model.bin").exists()


def test_a_run_ends_with_the_command_that_predicts(tmp_path, capsys):
    folder, rng = Folder(tmp_path), random.Random(4)
    folder.table("rows.tsv", ["label", "text_a"], [[x % 3, sentence(rng)] for x in range(20)])
    finetune("run_regression", folder, epochs_num=1)
    before, last = capsys.readouterr().err.splitlines()[-2:]
    assert f"The report is {tmp_path / 'model.bin.run' / 'report.html'}. To predict, type:" in before
    command = last.split("INFO] ")[1].split(" ")
    assert command[:2] == ["python3", "inference/run_regression_infer.py"]
    typed = [{"FILE": folder / "rows.tsv"}.get(word, word) for word in command[2:]]
    typed[-1] = folder / "out.tsv"
    assert script(command[1].removesuffix(".py")).main(typed) == 0 and len(folder.read("out.tsv")[1]) == 20


def test_64_rows_are_memorised(tmp_path, capsys):
    folder, rng = Folder(tmp_path), random.Random(2)
    rows = [[round(rng.uniform(0, 1), 2), sentence(rng), sentence(rng, 1, 3)] for _ in range(64)]
    folder.table("rows.tsv", ["label", "text_a", "text_b"], rows)
    settings = {"pooling": "mean", "epochs_num": 60, "batch_size": 8, "best_metric": "pearson"}
    finetune("run_regression", folder, test_path=folder / "rows.tsv", **settings)
    assert "INFO] Spearman corr: 0." in capsys.readouterr().err
    infer("run_regression", folder)
    header, predicted = folder.read("out.tsv")
    assert header == ["label"]
    ours, gold = [float(row[0]) for row in predicted], [row[0] for row in rows]
    assert stats.spearmanr(ours, gold).statistic >= 0.95
