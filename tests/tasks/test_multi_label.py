"""Several labels a row: UER-py's numbers, the chosen threshold, faulty files, and the scripts."""

import random

import numpy as np
import pytest
import torch

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import Folder, finetune, infer, sentence
from uer.checkpoints import read_companion
from uer.errors import ConfigError, DataError
from uer.tasks.body import task_body
from uer.tasks.labels import LabelMap
from uer.tasks.multi_label import MultiLabelModel, MultiLabelTask, read_label_sets


@pytest.fixture
def golden(shared, tmp_path):
    return Golden(shared, "multi_label", tmp_path)


def task_of(golden, **settings):
    return MultiLabelTask(golden.tokenizer(), read_label_sets(golden.tsv()), seq_length=12, **settings)


@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last"])
def test_logits_loss_and_sets_are_uers(golden, pooling):
    task = task_of(golden)
    examples = task.read(golden.tsv(), training=True)
    batch = task.collate(examples, np.arange(6))
    inputs, labels = tensors(batch.inputs), tensors(batch.labels)
    assert torch.equal(inputs["src"], golden["in.src"]) and torch.equal(inputs["seg"], golden["in.seg"])
    close(labels["cls"], golden["in.tgt"], 0, 0)
    model = golden.load(MultiLabelModel(task_body(golden.config(), 120), 4, pooling=pooling))
    close(model.logits(inputs), golden[f"out.{pooling}.logits"])
    term = model(inputs, labels)["cls"]
    close(term.loss_sum / term.count, golden[f"out.{pooling}.loss"], 2e-6)
    expected = golden[f"out.{pooling}.pred"]
    assert int(term.correct) == int((expected == golden["in.tgt"]).all(1).sum())
    columns = task.columns(golden[f"out.{pooling}.logits"].numpy(), True, True)
    assert columns["label"] == [",".join(str(i) for i in range(4) if row[i]) for row in expected]
    chances = torch.tensor([[float(x) for x in cell.split(" ")] for cell in columns["prob"]])
    close(chances, golden[f"out.{pooling}.logits"].sigmoid())


def table(tmp_path, *cells):
    path = tmp_path / "t.tsv"
    path.write_text("label\ttext_a\n" + "".join(f"{cell}\ta\n" for cell in cells))
    return path


def test_labels_may_be_names_and_sets_empty(tmp_path, golden):
    labels = read_label_sets(table(tmp_path, "sad,angry", "", "happy"))
    assert labels.names == ("angry", "happy", "sad")
    task = MultiLabelTask(golden.tokenizer(), labels, seq_length=8)
    examples = task.read(table(tmp_path, "sad,angry", "", "happy,happy"))
    assert examples.labels["cls"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert task.columns(np.array([[-1, -1, -1], [1, -1, 2]], np.float32), False, False) == {
        "label": ["", "angry,sad"]
    }
    assert read_label_sets(table(tmp_path, "x", "")).names == ("x",)


@pytest.mark.parametrize(
    "cells, message",
    [
        (["0,1", "0,,1"], "t.tsv:3: '0,,1' has a comma without a label beside it; write labels with one"),
        (["0,1", "0,"], "t.tsv:3: '0,' has a comma without a label beside it"),
        (["0,2"], "t.tsv:2: the label 2 is outside 0 … 1"),
        (["", ""], "t.tsv: no row has a label, so there is nothing to learn"),
    ],
)
def test_faulty_label_cells(tmp_path, cells, message):
    with pytest.raises(DataError, match=message):
        read_label_sets(table(tmp_path, *cells))


def test_an_unknown_label_of_a_set(tmp_path, golden):
    task = MultiLabelTask(golden.tokenizer(), LabelMap(("a", "b"), "train.tsv"), seq_length=8)
    with pytest.raises(DataError, match=r"t.tsv:3: the label 'c' is not among those of train.tsv: a, b"):
        task.read(table(tmp_path, "a,b", "a,c"))
    with pytest.raises(DataError, match=r"t.tsv:2: ',a' has a comma without a label"):
        task.read(table(tmp_path, ",a", "b"))


def test_64_rows_are_memorised(tmp_path, capsys):
    folder, rng = Folder(tmp_path), random.Random(2)
    cells = ["", "x", "y", "x,y", "y,z", "x,y,z"]
    rows = [[rng.choice(cells), sentence(rng), i] for i in range(64)]
    folder.table("rows.tsv", ["label", "text_a", "id"], rows)
    settings = {"pooling": "mean", "epochs_num": 60, "batch_size": 8, "choose_threshold": True}
    finetune("run_classifier_multi_label", folder, test_path=folder / "rows.tsv", **settings)
    test = capsys.readouterr().err.rsplit("Test set evaluation.")[-1]
    companion = read_companion(folder / "model.bin")
    assert f"threshold: {companion.extra['threshold']:g}" in test
    infer("run_classifier_multi_label", folder, output_prob=True, keep_columns=["id"])
    header, predicted = folder.read("out.tsv")
    assert header == ["label", "prob", "id"]
    right = sum(p[0] == g[0] for p, g in zip(predicted, rows))
    assert right / 64 >= 0.95
    assert f"Acc. (Correct/Total): {right / 64:.4f} ({right}/64)" in test
    infer("run_classifier_multi_label", folder, threshold=0.999999)
    assert {row[0] for row in folder.read("out.tsv")[1]} == {""}
    with pytest.raises(
        Exception, match="is a model of the task 'multi_label', not 'classifier'; predict with"
    ):
        infer("run_classifier", folder)
    with pytest.raises(ConfigError, match=r"--threshold is 2.0; it must be a number from 0 to 1"):
        infer("run_classifier_multi_label", folder, threshold=2)
