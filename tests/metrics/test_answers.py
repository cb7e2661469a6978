"""Exact match and F1 of answers: UER-py's numbers, SQuAD's and CMRC's definitions written out apart."""

import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import NLTKWordTokenizer

from uer import metrics
from uer.errors import ConfigError
from uer.metrics import answers

SIGNS = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』"
TEXTS = st.text(alphabet="ab A1,.'\"()!，。《》的是在鿿é", max_size=12)


def find_lcs(one, other):
    """The longest common run by trying all."""
    runs = {tuple(one[i:j]) for i in range(len(one)) for j in range(i + 1, len(one) + 1)}
    theirs = {tuple(other[i:j]) for i in range(len(other)) for j in range(i + 1, len(other) + 1)}
    return max((len(run) for run in runs & theirs), default=0)


def cmrc(prediction, gold):
    """CMRC 2018's F1 and exact match of one answer, from its description."""

    def cut(text):
        text = "".join(c for c in text.lower().strip() if c not in SIGNS)
        out = []
        for part in re.split(r"([\u4e00-\u9fa5])", text):
            out += [part] if re.fullmatch(r"[\u4e00-\u9fa5]", part) else NLTKWordTokenizer().tokenize(part)
        return out

    ours, theirs = cut(prediction), cut(gold)
    run = find_lcs(ours, theirs)
    f1 = 0 if not run else 2 * (run / len(ours)) * (run / len(theirs)) / (run / len(ours) + run / len(theirs))
    plain = ["".join(c for c in text.lower().strip() if c not in SIGNS) for text in (prediction, gold)]
    return f1, float(plain[0] == plain[1])


def squad(prediction, gold):
    """SQuAD's F1 and exact match of one answer, from its description."""

    def normal(text):
        text = re.sub(r"[!-/:-@\[-`{-~]", "", text.lower())
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    ours, theirs = normal(prediction).split(), normal(gold).split()
    exact = float(normal(prediction) == normal(gold))
    if not ours or not theirs:
        return float(ours == theirs), exact
    common = sum((Counter(ours) & Counter(theirs)).values())
    if common == 0:
        return 0.0, exact
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall), exact


@settings(max_examples=80, deadline=None)
@given(prediction=TEXTS, golds=st.lists(TEXTS, min_size=1, max_size=3))
@pytest.mark.parametrize("kind, reference", [("cmrc", cmrc), ("squad", squad)])
def test_scores_are_those_of_the_definition(kind, reference, prediction, golds):
    metric = metrics.AnswerMatch(kind)
    metric.update(prediction, golds)
    pairs = [reference(prediction, gold) for gold in golds]
    assert metric.f1 == pytest.approx(max(f1 for f1, _ in pairs), abs=1e-12)
    assert metric.exact == max(exact for _, exact in pairs)


@pytest.mark.parametrize(
    "prediction, gold, f1, exact",
    [
        ("The Eiffel Tower!", "eiffel tower", 1, 1),
        ("a tower in Paris", "the Eiffel Tower", 0.4, 0),
        ("the", "", 1, 1),
        ("x", "the", 0, 0),
    ],
)
def test_squad_by_hand(prediction, gold, f1, exact):
    metric = metrics.AnswerMatch("squad")
    metric.update(prediction, [gold])
    assert metric.scores() == pytest.approx({"avg": 50 * (f1 + exact), "f1": 100 * f1, "em": 100 * exact})


def test_texts_and_the_report_are_uers(shared):
    facts = json.loads((shared / "golden" / "uer-tasks" / "metric_cmrc.json").read_text(encoding="utf-8"))
    for pair in facts["pairs"]:
        metric = metrics.AnswerMatch("uer")
        metric.update(pair["prediction"], pair["answers"])
        assert metric.f1 == pytest.approx(pair["f1"], abs=1e-9) and metric.exact == pair["em"]
    gold = {
        question["id"]: [answer["text"] for answer in question["answers"]]
        for document in facts["squad"]["data"]
        for paragraph in document["paragraphs"]
        for question in paragraph["qas"]
    }
    metric = metrics.AnswerMatch("uer")
    for prediction in facts["predictions"]:
        metric.update(prediction["text"], gold[prediction["id"]])
    assert metric.report() == facts["lines"]


def test_questions_without_an_answer():
    metric = metrics.AnswerMatch("squad")
    metric.update(None, [])
    metric.update("x", [])
    metric.update(None, ["x"])
    metric.update("x", ["x"])
    assert metric.scores() == {"avg": 50, "f1": 50, "em": 50}
    assert metric.report() == ["Avg: 50.0000,F1:50.0000,EM:50.0000,Total:4,Skip:2"]
    assert metrics.AnswerMatch("cmrc").scores() == {"avg": 0, "f1": 0, "em": 0}


@pytest.mark.parametrize(
    "prediction, golds, score",
    [(None, ["the"], 100), ("a", [], 100), ("!", [], 100), (None, ["the", "x"], 0), (None, ["x"], 0)],
)
def test_squad_takes_no_answer_for_the_empty_text(prediction, golds, score):
    """As its second version defines it; CMRC 2018 has an answer to every question."""
    metric = metrics.AnswerMatch("squad")
    metric.update(prediction, golds)
    assert metric.scores() == {"avg": score, "f1": score, "em": score}
    assert metric.skipped == (prediction is None)
    metric = metrics.AnswerMatch("cmrc")
    metric.update(prediction, golds)
    assert metric.scores()["em"] == 0


def test_an_unknown_kind():
    with pytest.raises(ConfigError, match=r"--qa_metric 'cmcr' is unknown; .*Did you mean 'cmrc'"):
        metrics.AnswerMatch("cmcr")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=7), st.lists(st.integers(0, 2), max_size=7))
def test_longest_common_run(one, other):
    assert answers.common_run(one, other) == find_lcs(one, other)
