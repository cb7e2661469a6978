"""Scores equal UER's own on its golden rows, and scikit-learn's and scipy's on random ones."""

import itertools
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy import stats
from sklearn import metrics as reference

from uer import metrics
from uer.errors import ConfigError
from uer.metrics import classification, ranks


def golden(shared, case):
    folder = shared / "golden" / "uer-tasks"
    return json.loads((folder / f"{case}.json").read_text()), load_file(folder / f"{case}.safetensors")


def test_confusion_report_is_uers(shared):
    facts, tensors = golden(shared, "metric_confusion")
    confusion = metrics.Confusion(facts["labels_num"])
    predicted = tensors["in.logits"].argmax(axis=1)
    for rows in np.array_split(np.arange(50), 7):
        confusion.update(predicted[rows], tensors["in.tgt"][rows])
    assert confusion.report() == facts["lines"]
    assert (confusion.matrix == tensors["out.confusion"]).all()
    p, r, f1 = classification.label_scores(confusion.matrix)
    for ours, theirs in ((p, "p"), (r, "r"), (f1, "f1"), (confusion.accuracy, "acc")):
        np.testing.assert_allclose(ours, tensors[f"out.{theirs}"].squeeze(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 9, 24, 31])
@pytest.mark.parametrize("high", [1, 10, 99999])
def test_matrix_is_printed_as_torch_prints_it(size, high):
    matrix = np.random.default_rng(size).integers(0, high, (size, size))
    assert classification.matrix_text(matrix) == str(torch.tensor(matrix))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("labels", [2, 3, 7])
def test_confusion_scores_equal_scikit_learn(seed, labels):
    rng = np.random.default_rng(seed)
    gold, predicted = rng.integers(0, labels, 40), rng.integers(0, labels, 40)
    confusion = metrics.Confusion([f"name{i}" for i in range(labels)])
    confusion.update(predicted, gold)
    scores = confusion.scores()
    every = list(range(labels))
    assert (confusion.matrix == reference.confusion_matrix(predicted, gold, labels=every)).all()
    expected = {
        "acc": reference.accuracy_score(gold, predicted),
        "macro_f1": reference.f1_score(gold, predicted, labels=every, average="macro", zero_division=0),
        "micro_f1": reference.f1_score(gold, predicted, labels=every, average="micro"),
        "mcc": reference.matthews_corrcoef(gold, predicted),
    }
    assert scores == pytest.approx(expected, abs=1e-8)
    assert "Label name1:" in confusion.report()[4]


def test_confusion_without_rows_scores_zero():
    assert set(metrics.Confusion(3).scores().values()) == {0.0}
    assert metrics.Confusion(3).report()[-1] == "Acc. (Correct/Total): 0.0000 (0/0) "


@pytest.mark.parametrize("labels", [2, 4])
def test_auc_equals_scikit_learn(labels):
    rng = np.random.default_rng(labels)
    gold = rng.integers(0, labels, 60)
    probabilities = rng.dirichlet(np.ones(labels), 60).round(1).astype(np.float32)  # rounded: there are ties
    auc = metrics.Auc(labels)
    for rows in np.array_split(np.arange(60), 4):
        auc.update(probabilities[rows], gold[rows])
    each = [reference.roc_auc_score(gold == label, probabilities[:, label]) for label in range(labels)]
    assert auc.scores()["auc"] == pytest.approx(each[1] if labels == 2 else np.mean(each), abs=1e-12)
    assert auc.report()[0].startswith("AUC: 0.")


def test_classification_joins_both():
    rng = np.random.default_rng(5)
    logits, gold = rng.normal(size=(30, 2)).astype(np.float32), rng.integers(0, 2, 30)
    both = metrics.Classification(["no", "yes"])
    both.update(logits[:10], gold[:10])
    both.update(logits[10:], gold[10:])
    assert both.scores()["auc"] == pytest.approx(reference.roc_auc_score(gold, logits[:, 1] - logits[:, 0]))
    assert both.scores()["acc"] == reference.accuracy_score(gold, logits.argmax(1))
    lines = both.report()
    assert lines[-2].startswith("Macro F1: ") and "AUC: " in lines[-2]
    assert [*lines[:-2], lines[-1]] == both.confusion.report()
    torch.testing.assert_close(torch.tensor(classification.softmax(logits)), torch.tensor(logits).softmax(-1))
    assert "auc" not in metrics.Classification(["a", "b", "c"]).scores()
    assert "auc" in metrics.Classification(["a", "b", "c"], area=True).scores()


def test_auc_of_one_class_is_not_a_number():
    auc = metrics.Auc(2)
    assert np.isnan(auc.value)
    auc.update([[0.5, 0.5]], [1])
    assert np.isnan(auc.value)


def test_auc_leaves_out_a_label_that_never_occurs():
    auc = metrics.Auc(3)
    auc.update([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.4, 0.1]], [0, 1, 1])
    assert auc.value == 1.0


def test_correlations_equal_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 50).astype(float), rng.normal(size=50)
    assert ranks.pearson(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-12)
    assert ranks.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    np.testing.assert_array_equal(ranks.average_ranks(a), stats.rankdata(a))


@pytest.mark.parametrize("one, other", [([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])])
def test_correlation_is_not_a_number_where_it_is_not_defined(one, other):
    correlation = metrics.Correlation()
    correlation.update(one, other)
    assert np.isnan(list(correlation.scores().values())).all()
    assert correlation.report()[-1] == "Spearman corr: nan"


def test_spearman_is_uers(shared):
    facts, tensors = golden(shared, "metric_spearman")
    correlation = metrics.Correlation()
    correlation.update(tensors["in.pred"][:9, 0], tensors["in.tgt"][:9])
    correlation.update(tensors["in.pred"][9:, 0], tensors["in.tgt"][9:])
    assert correlation.scores()["spearman"] == pytest.approx(
        float(tensors["out.regression_spearman"][0]), abs=1e-9
    )
    assert correlation.report()[-1:] == facts["lines"]["regression"]
    cosine = metrics.Correlation("Spearman's correlation: {:.4f}")
    cosine.update(tensors["out.simcse_cosine"], tensors["in.tgt"])
    assert cosine.report()[-1:] == facts["lines"]["simcse"]


def test_set_match_equals_scikit_learn():
    rng = np.random.default_rng(3)
    gold, chances = rng.random((30, 4)) < 0.4, rng.random((30, 4))
    match = metrics.SetMatch(list("abcd"), (0.6,))
    match.update(chances[:11], gold[:11])
    match.update(chances[11:], gold[11:])
    assert match.scores() == pytest.approx(set_scores(gold, chances > 0.6))
    assert match.report()[-1].startswith("Acc. (Correct/Total): ")
    assert metrics.SetMatch(["a"]).scores() == {"acc": 0.0, "micro_f1": 0.0, "macro_f1": 0.0}


def set_scores(gold, predicted):
    return {
        "acc": reference.accuracy_score(gold, predicted),
        "micro_f1": reference.f1_score(gold, predicted, average="micro"),
        "macro_f1": reference.f1_score(gold, predicted, average="macro", zero_division=0),
    }


@pytest.mark.parametrize("by", ["acc", "micro_f1", "macro_f1"])
def test_set_match_chooses_the_best_threshold(by):
    rng = np.random.default_rng(4)
    gold = rng.random((40, 3)) < 0.5
    chances = np.clip(gold * 0.2 + rng.random((40, 3)) * 0.5, 0, 1)
    tried = [number / 10 for number in range(1, 10)]
    match = metrics.SetMatch(list("abc"), tried, by)
    for rows in np.array_split(np.arange(40), 3):
        match.update(chances[rows], gold[rows])
    each = [set_scores(gold, chances > threshold)[by] for threshold in tried]
    best = [threshold for threshold, score in zip(tried, each) if score == max(each)]
    assert match.threshold == min(best, key=lambda threshold: abs(threshold - 0.5))
    assert match.scores() == pytest.approx(set_scores(gold, chances > match.threshold))
    assert f"threshold: {match.threshold:g}" in match.report()[0]


def test_set_match_is_uers(shared):
    facts, tensors = golden(shared, "metric_multi_label")
    match = metrics.SetMatch([str(i) for i in range(facts["labels_num"])])
    match.update(1 / (1 + np.exp(-tensors["in.logits"])), tensors["in.tgt"])
    assert match.scores()["acc"] == pytest.approx(float(tensors["out.acc"][0]), abs=1e-12)
    assert match.report()[-1:] == facts["lines"]


def test_ranking_against_scikit_learn_and_by_hand():
    rng = np.random.default_rng(1)
    groups = [(rng.permutation(n).astype(float), rng.random(n) < 0.5) for n in (3, 5, 8, 8)]
    groups += [(rng.integers(0, 3, n).astype(float), rng.random(n) < 0.5) for n in (4, 8, 20)]  # with ties
    groups = [(scores, gold) for scores, gold in groups if gold.any()]
    ranking = metrics.Ranking()
    for scores, gold in groups:
        ranking.update(scores, gold)
    expected = [reference.average_precision_score(gold, scores) for scores, gold in groups]
    assert ranking.scores()["map"] == pytest.approx(np.mean(expected))
    ranking = metrics.Ranking()
    ranking.update([0.1, 0.9, 0.5], [0, 0, 1])  # second
    ranking.update([0.7, 0.7], [1, 0])  # tied with the best: first or second
    ranking.update([0.2, 0.1], [0, 0])  # none: rank 3
    assert ranking.scores()["mrr"] == pytest.approx((1 / 2 + 3 / 4 + 1 / 3) / 3)
    assert ranking.report()[-1] == "Mean Reciprocal Rank: 0.5278"


@pytest.mark.parametrize(
    ("scores", "gold"),
    [
        ([1, 1, 1, 1], [0, 0, 1, 0]),
        ([2, 1, 1, 1, 0], [0, 1, 0, 1, 1]),
        ([3, 3, 1, 1, 1, 1], [0, 0, 1, 1, 1, 0]),
    ],
)
def test_ties_are_worth_what_a_random_order_is(scores, gold):
    found = []
    for order in itertools.permutations(range(len(scores))):
        ranked = sorted(order, key=lambda place: -scores[place])  # keeps the drawn order among equals
        found.append(1 / (1 + next(rank for rank, place in enumerate(ranked) if gold[place])))
    ranking = metrics.Ranking()
    ranking.update(scores, gold)
    assert ranking.scores()["mrr"] == pytest.approx(np.mean(found), abs=1e-12)
    assert ranking.scores()["map"] == pytest.approx(reference.average_precision_score(gold, scores))


def test_select_names_the_score():
    scores = {"acc": 0.5, "mcc": 0.25}
    assert metrics.select(scores, None) == 0.5
    assert metrics.select(scores, "mcc") == 0.25
    with pytest.raises(
        ConfigError, match=r"--best_metric 'mc' is unknown; choose from acc, mcc. Did you mean 'mcc'"
    ):
        metrics.select(scores, "mc")


def test_group_ranking_is_uers_whatever_the_order(shared):
    facts, tensors = golden(shared, "metric_dbqa")
    qid, label, logits = (tensors[f"in.plain.{name}"] for name in ("qid", "label", "logits"))
    metric = metrics.GroupRanking()
    order = np.random.default_rng(1).permutation(len(qid))
    for rows in np.array_split(order, 4):
        metric.update(rows, qid[rows], logits[rows, 1], label[rows] == 1)
    assert metric.scores()["mrr"] == pytest.approx(float(tensors["out.plain.mrr"][0]), abs=1e-12)
    assert metric.report()[-1:] == facts["lines"]["plain"]
    assert metrics.GroupRanking().scores() == {"mrr": 0, "map": 0}
