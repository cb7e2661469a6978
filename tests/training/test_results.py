"""What evaluations gave, in a file and on the page of the run."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tests.training.test_page import Tags
from uer.metrics import Classification, Confusion, Correlation, SetMatch, SpanF1, tables_of
from uer.metrics.tables import MOST
from uer.training.results import add_result, read_results, results_cards
from uer.training.runlog import RunLog, late_result

RNG = np.random.default_rng(3)


def classified(labels):
    gold, predicted = RNG.integers(0, len(labels), 200), RNG.integers(0, len(labels), 200)
    metric = Classification(labels)
    metric.update(np.eye(len(labels))[predicted], gold)
    return metric, predicted, gold


def test_tables_of_labels_are_scikit_learns():
    metric, predicted, gold = classified(["neg", "pos", "so"])
    matrix, labels = tables_of(metric)
    assert matrix.matrix and matrix.head == ["", "neg", "pos", "so"]
    assert [row[1:] for row in matrix.rows] == confusion_matrix(gold, predicted).T.tolist()
    expected = precision_recall_fscore_support(gold, predicted)
    assert labels.head == ["label", "precision", "recall", "F1", "support"]
    for column, values in enumerate(expected, 1):
        np.testing.assert_allclose([row[column] for row in labels.rows], values, atol=1e-6)


def test_of_many_labels_the_worst_confusions_are_listed():
    names = [f"L{number}" for number in range(MOST + 1)]
    metric = Confusion(names)
    metric.update([1] * 7 + [2] * 5 + [3] * 9, [4] * 7 + [5] * 5 + [3] * 9)
    listed, labels = metric.tables()
    assert listed.rows == [["L1", "L4", 7], ["L2", "L5", 5]] and not listed.matrix
    assert len(labels.rows) == MOST + 1 and "of 31 labels" in listed.title


def test_tables_of_sets_and_spans():
    sets = SetMatch(["a", "b"], (0.3, 0.5))
    sets.update([[0.9, 0.1], [0.6, 0.7], [0.1, 0.2]], [[1, 0], [0, 1], [1, 0]])
    (table,) = tables_of(sets)
    assert table.rows == [["a", 0.5, 0.5, 0.5, 2], ["b", 1.0, 1.0, 1.0, 1]]
    spans = SpanF1(["O", "B-LOC", "I-LOC", "B-PER"])
    spans.update(range(5), [0] * 5, [1, 2, 0, 3, 0], [1, 2, 0, 1, 0])
    (table,) = tables_of(spans)
    assert {row[0]: row[4] for row in table.rows} == {"LOC": 2, "PER": 0}
    assert tables_of(Correlation()) == []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "m.bin.run"


def test_results_are_kept_and_shown(folder):
    log = RunLog(str, total=4, folder=folder, quiet=False)
    log.describe({"batch_size": 2})
    metric, _, _ = classified(["<neg>", "pos"])
    log.result("Development", metric)
    log.record({"step": 4, "dev_acc": metric.scores()["acc"]})
    log.close()
    page = (folder / "report.html").read_text()
    assert "Confusion matrix (rows: predicted, columns: gold)" in page and "&lt;neg&gt;" in page
    assert f"<td>acc</td><td>{metric.scores()['acc']:.4f}</td>" in page and "<neg>" not in page
    total = metric.confusion.matrix.sum(axis=0)[0]
    share = metric.confusion.matrix[0, 0] / total
    assert f"--share: {share:.3f}" in page
    better, _, _ = classified(["<neg>", "pos"])
    log.result("Development", better)  # a better one takes its place
    late_result(folder, "Test", metric)
    results = read_results(folder)
    assert list(results) == ["Development", "Test"]
    assert results["Development"]["scores"]["acc"] == better.scores()["acc"]
    page = (folder / "report.html").read_text()
    assert "<h2>Test</h2>" in page and "finished: 4 of 4 steps" in page
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    RunLog(str, total=4, folder=folder, start=2)
    assert read_results(folder) == results  # a resumed run goes on
    RunLog(str, total=4, folder=folder)
    assert read_results(folder) == {}


def test_odd_files_and_numbers(folder):
    folder.mkdir()
    assert results_cards(read_results(folder)) == ""
    (folder / "results.json").write_text("{")
    assert read_results(folder) == {}
    (folder / "results.json").write_text("[]")
    assert read_results(folder) == {}
    metric = Correlation()
    metric.update([1.0, 2.0], [3.0, 3.0])
    assert math.isnan(metric.scores()["pearson"])
    add_result(folder, "Development", metric)
    assert json.loads((folder / "results.json").read_text())["Development"]["scores"]["pearson"] is None
    assert "<td>pearson</td><td>none</td>" in results_cards(read_results(folder))
    late_result(folder, "Test", metric)  # without the other files of a run
    assert " steps" not in Path(folder / "report.html").read_text()
