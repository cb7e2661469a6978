"""Sentences that answer a question: UER-py's numbers, faulty files, the script."""

import random

import numpy as np
import pytest
import torch

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import LETTERS, Folder, finetune, infer
from uer.errors import DataError
from uer.metrics import GroupRanking
from uer.tasks.body import task_body
from uer.tasks.classifier import ClassifierModel
from uer.tasks.dbqa import DbqaTask
from uer.tasks.labels import LabelMap
from uer.tasks.predict import evaluate
from uer.training.precision import Precision

COLUMNS = ["qid", "label", "text_a", "text_b"]


def test_rows_logits_loss_and_rank_are_uers(shared, tmp_path):
    golden = Golden(shared, "dbqa", tmp_path)
    task = DbqaTask(golden.tokenizer(), LabelMap(("0", "1")), seq_length=12)
    examples = task.read(golden.tsv(), training=True)
    batch = task.collate(examples, np.arange(10))
    inputs, labels = tensors(batch.inputs), tensors(batch.labels)
    assert torch.equal(inputs["src"], golden["in.src"]) and torch.equal(inputs["seg"], golden["in.seg"])
    assert torch.equal(labels["cls"], golden["in.tgt"]) and torch.equal(labels["group"], golden["in.qid"])
    model = golden.load(ClassifierModel(task_body(golden.config(), 120), labels_num=2, pooling="first"))
    close(model.logits(inputs), golden["out.logits"])
    term = model(inputs, labels)["cls"]
    close(term.loss_sum / term.count, golden["out.loss"], 2e-6)
    metric = evaluate(model, task, examples, batch_size=3, precision=Precision("fp32"))
    assert metric.scores()["mrr"] == pytest.approx(float(golden["out.mrr"]), abs=1e-9)
    assert metric.report()[-1:] == golden.facts["lines"]


@pytest.mark.parametrize(
    "row, message",
    [
        ([" ", 1, "a", "b"], "t.tsv:2: the column 'qid' is empty; it names the question"),
        (["q", 2, "a", "b"], "t.tsv:2: the label '2' is not among those"),
    ],
)
def test_faulty_rows(shared, tmp_path, row, message):
    task = DbqaTask(Golden(shared, "dbqa", tmp_path).tokenizer(), LabelMap(("0", "1")), seq_length=12)
    path = Folder(tmp_path).table("t.tsv", COLUMNS, [row])
    with pytest.raises(DataError, match=message):
        task.read(path)


def test_questions_of_one_sentence_and_without_a_right_one():
    """The task's own way from logits to scores, rows in any order."""
    metric = GroupRanking()
    groups, labels = np.array([0, 1, 2, 3, 2, 3]), np.array([1, 0, 0, 0, 1, 0])
    logits = np.array([-5.0, 9.0, 2.0, 1.0, 1.0, 1.0])
    order = np.random.default_rng(3).permutation(6)
    metric.update(order, groups[order], logits[order], labels[order] == 1)
    # one right sentence; one wrong one; the second of two; two wrong ones, which map leaves out
    assert metric.scores() == pytest.approx({"mrr": (1 + 1 / 2 + 1 / 2 + 1 / 3) / 4, "map": (1 + 1 / 2) / 2})


def generated(rng, questions):
    """Generated rows: the sentence that answers a question holds its first letter."""
    rows = []
    for number in range(questions):
        letter = rng.choice(LETTERS[:12])
        others = [x for x in LETTERS if x != letter]
        answers = [[0, " ".join(rng.choices(others, k=4))] for _ in range(3)]
        answers.insert(rng.randint(0, 3), [1, " ".join([*rng.choices(others, k=2), letter])])
        rows += [[f"q{number}", label, f"{letter} z", text] for label, text in answers]
    return rows


def test_64_rows_are_memorised(tmp_path, capsys):
    folder, rows = Folder(tmp_path), generated(random.Random(4), 16)
    random.Random(1).shuffle(rows)  # the rows of a question need not be neighbours
    path = folder.table("rows.tsv", COLUMNS, rows)
    settings = {"epochs_num": 40, "batch_size": 8, "best_metric": "map", "class_weights": True}
    finetune("run_dbqa", folder, test_path=path, **settings)
    log = capsys.readouterr().err
    assert float(log.rsplit("Mean Reciprocal Rank: ", 1)[1].split()[0]) >= 0.95
    assert float(log.rsplit("Mean Average Precision: ", 1)[1].split()[0]) >= 0.95
    infer("run_classifier", folder, keep_columns=["qid"], output_prob=True)
    header, predicted = folder.read("out.tsv")
    assert header == ["label", "prob", "qid"] and [row[2] for row in predicted] == [row[0] for row in rows]
    chance = [float(row[1].split()[1]) for row in predicted]
    best = [max((i for i in range(64) if rows[i][0] == f"q{n}"), key=lambda i: chance[i]) for n in range(16)]
    assert np.mean([rows[number][1] for number in best]) >= 0.95


def test_other_labels_than_0_and_1(tmp_path):
    folder = Folder(tmp_path)
    folder.table("rows.tsv", COLUMNS, [["q", "yes", "a", "b"], ["q", "no", "a", "c"]])
    with pytest.raises(
        DataError, match=r"rows.tsv:2: the label is '(no|yes)'; it must be 1 \(the text answers"
    ):
        finetune("run_dbqa", folder)
