"""Several data sets over one body: UER-py's numbers, the order of batches, and the scripts."""

import random

import numpy as np
import pytest
import torch

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import Folder, infer, script, sentence, words
from uer.checkpoints import read_companion, read_state
from uer.errors import CheckpointError, ConfigError, DataError
from uer.tasks.body import task_body
from uer.tasks.classifier import ClassifierTask, read_labels
from uer.tasks.multi_task import MultiTask, MultiTaskModel


@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last"])
@pytest.mark.parametrize("case", ["classifier_mt", "classifier_mt_2021"])
def test_logits_losses_and_reports_are_uers(shared, tmp_path, case, pooling):
    golden = Golden(shared, case, tmp_path)
    old = golden.facts["era"] == "2021"
    tasks, examples, rows = [], [], golden.facts["rows"]
    for number, data in enumerate(rows["data"]):
        golden.facts["rows"] = {"columns": rows["columns"], "data": data}
        path = golden.tsv(name=f"{number}.tsv")
        tasks.append(
            ClassifierTask(golden.tokenizer(), read_labels(path), seq_length=12, single_text_sep=not old)
        )
        examples.append(tasks[-1].read(path))
    task = MultiTask(tasks)
    model = MultiTaskModel(task_body(golden.config(), 120), sizes=task.sizes, pooling=pooling)
    golden.load(model)
    for number, part in enumerate(examples):
        batch = task.collate(part, np.arange(6), number)
        inputs = tensors(batch.inputs)
        assert torch.equal(inputs["src"], golden[f"in.{number}.src"])
        if old and pooling != "first":
            continue  # 2021 pools padding too
        expected = golden[f"out.{number}.{pooling}.logits"]
        close(model.logits(inputs, number), expected)
        close(torch.tensor(task.part(model.predict(inputs).detach().numpy(), number)), expected)
        term = model(inputs, tensors(batch.labels))["cls"]
        close(term.loss_sum / term.count, golden[f"out.{number}.{pooling}.loss"], 2e-6)
        if pooling == "first":
            metric = task.metric().parts[number]
            metric.update(expected.numpy(), batch.labels[str(number)])
            assert metric.confusion.report() == golden.facts["lines"][str(number)]


@pytest.fixture
def folder(tmp_path):
    folder, rng = Folder(tmp_path), random.Random(4)
    for name, labels, count in (("one", ["no", "yes"], 40), ("two", [0, 1, 2], 24)):
        (tmp_path / name).mkdir()
        rows = [[rng.choice(labels), sentence(rng)] for _ in range(count)]
        for file in ("train.tsv", "dev.tsv"):
            folder.table(f"{name}/{file}", ["label", "text_a"], rows)
    return folder


def train(folder, **flags):
    settings = {
        "dataset_path_list": [folder / "one", folder / "two"],
        "output_model_path": folder / "model.bin",
        "vocab_path": folder.vocab,
        "config_path": folder.config,
        "learning_rate": 3e-3,
        "batch_size": 8,
        "epochs_num": 1,
        "precision": "fp32",
        "pooling": "mean",
        **flags,
    }
    return script("finetune/run_classifier_mt").main(words(**settings))


def test_both_are_memorised(folder, capsys):
    train(folder, epochs_num=40)
    assert "INFO] The number of training instances: 64" in capsys.readouterr().err
    assert read_companion(folder / "model.bin").labels == [["no", "yes"], ["0", "1", "2"]]
    right = 0
    for number, name in enumerate(("one", "two")):
        infer("run_classifier_mt", folder, f"{name}/dev.tsv", output_logits=True, output_prob=True)
        header, rows = folder.read("out.tsv")
        assert header == ["label", "logits", "prob"]
        gold = folder.read(f"{name}/dev.tsv")[1]
        right += sum(row[0].split("|")[number] == g[0] for row, g in zip(rows, gold))
        cells = [cell.split(" ") for cell in rows[0][2].split("|")]
        assert [len(cell) for cell in cells] == [2, 3]
        assert all(abs(sum(map(float, cell)) - 1) < 1e-3 and len(cell[0]) == 6 for cell in cells)
    assert right / 64 >= 0.95


def test_saved_sizes(folder):
    train(folder)
    infer("run_classifier_mt", folder, "one/dev.tsv")
    expected = folder.read("out.tsv")[1]
    infer("run_classifier_mt", folder, "one/dev.tsv", labels_num_list=[2, 3])
    with pytest.raises(ConfigError, match=r"--labels_num_list is 2 2, but the model .* has 2 3 labels"):
        infer("run_classifier_mt", folder, "one/dev.tsv", labels_num_list=[2, 2])
    with pytest.raises(
        CheckpointError, match="'multi_task', not 'classifier'; predict with inference/run_cl"
    ):
        infer("run_classifier", folder, "one/dev.tsv")
    torch.save(read_state(folder / "model.bin"), folder / "uer.bin")
    described = {
        "load_model_path": folder / "uer.bin",
        "vocab_path": folder.vocab,
        "config_path": folder.config,
        "pooling": "mean",
    }
    infer("run_classifier_mt", folder, "one/dev.tsv", labels_num_list=[2, 3], **described)
    ids = {"no": "0", "yes": "1"}
    assert folder.read("out.tsv")[1] == [
        [f"{ids[a]}|{b}"] for a, b in (row[0].split("|") for row in expected)
    ]
    with pytest.raises(ConfigError, match="--labels_num_list must be given"):
        infer("run_classifier_mt", folder, "one/dev.tsv", **described)


def test_faulty_folders(folder):
    with pytest.raises(ConfigError, match="--dataset_path_list names a folder twice"):
        train(folder, dataset_path_list=[folder / "one", folder / "one"])
    with pytest.raises(DataError, match=r"none/train.tsv: the file does not exist"):
        train(folder, dataset_path_list=[folder / "none"])
