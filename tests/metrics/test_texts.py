"""Scores of generated texts against sacrebleu and rouge-score."""

import importlib.util

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from uer import metrics
from uer.errors import EnvironmentFault
from uer.metrics import texts

TEXTS = st.text(alphabet="abc AB1 的是在,。", max_size=15)


class Cut:
    """Our words, for rouge-score."""

    def tokenize(self, text):
        return texts.rouge_words(text)


SCORER = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Cut())
ENGLISH = RougeScorer(["rouge1", "rouge2", "rougeL"])


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS)
def test_rouge_equals_rouge_score(prediction, reference):
    theirs = SCORER.score(reference, prediction)
    assert texts.rouge(prediction, reference) == pytest.approx({k: v.fmeasure for k, v in theirs.items()})


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="abc AB1 ,.-", max_size=15), st.text(alphabet="abc AB1 ,.-", max_size=15))
def test_rouge_of_english_has_the_words_of_rouge_score(prediction, reference):
    theirs = ENGLISH.score(reference, prediction)
    assert texts.rouge(prediction, reference) == pytest.approx({k: v.fmeasure for k, v in theirs.items()})


@pytest.mark.parametrize(
    "pairs, tokenizer",
    [
        ([("今天天气很好，我们走。", "今天天气好，我们走吧。"), ("我去了北京", "我去北京了")], "zh"),
        (
            [
                ("the cat sat on the mat.", "a cat sat on the mat."),
                ("go home now please", "go home now, please"),
            ],
            "13a",
        ),
    ],
)
def test_bleu_is_sacrebleus(pairs, tokenizer):
    metric = metrics.TextMatch()
    for prediction, reference in pairs:
        metric.update(prediction == reference, prediction, reference)
    score = sacrebleu.corpus_bleu(*[[p for p, _ in pairs], [[r for _, r in pairs]]], tokenize=tokenizer).score
    assert metric.bleu() == (pytest.approx(score), tokenizer) and score > 10
    assert f"BLEU: {score:.2f} ({tokenizer}), ROUGE-1: " in metric.report()[0]


def test_the_report_ends_in_uers_line():
    metric = metrics.TextMatch()
    assert metric.scores() == {"acc": 0, "bleu": 0, "rouge1": 0, "rouge2": 0, "rougeL": 0}
    metric.update(True, "a b c d", "a b c d")
    metric.update(False, "a", "x")
    assert metric.scores()["rouge1"] == pytest.approx(50)
    assert metric.report()[-1] == "Acc. (Correct/Total): 0.5000 (1/2) "


def test_without_sacrebleu(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    metric = metrics.TextMatch()
    metric.update(True, "a", "a")
    assert "bleu" not in metric.scores() and "needs the package sacrebleu" in metric.report()[0]
    with pytest.raises(EnvironmentFault, match=r"pip install 'uer\[bleu\]'"):
        metric.bleu()
