"""The benchmarks of tasks, prediction and search run, and their simple baselines are what they say."""

import json
import re

import pytest

from benchmarks import inference, search, tasks
from benchmarks.task_baselines import linear_tags, linear_texts, ngram_choice, stretches

ROWS = [("a b c", "B-X I-X O"), ("c a b", "O B-X I-X"), ("d c", "O O")] * 4


def test_baselines_of_tags():
    found = dict(linear_tags(ROWS, ROWS, 7))
    assert list(found) == [
        "tags drawn at random",
        "each character's usual tag",
        "logistic regression on neighbours",
    ]
    assert found["each character's usual tag"]["f1"] == found["logistic regression on neighbours"]["f1"] == 1
    assert 0 <= found["tags drawn at random"]["f1"] < 1


def test_baselines_of_texts():
    train = [("0", "aab"), ("1", "ccd"), ("0", "aba")] * 5
    found = dict(linear_texts(train, train, 7))
    assert found["majority"] == {"acc": pytest.approx(2 / 3), "macro_f1": pytest.approx(0.4)}
    assert found["logistic regression on characters"] == {"acc": 1, "macro_f1": 1}


def test_baselines_of_choices():
    def document(choices, answer):
        return [["the words stand here"], [{"question": "q", "choice": choices, "answer": answer}], "1"]

    train = [document(["a", "b"], "b")]
    test = [document(["none", "words"], "words"), document(["stand", "x", "y", "z"], "stand")]
    found = dict(ngram_choice(train, test))
    assert found["chance"]["acc"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert found["the usual place"]["acc"] == 0.5
    assert found["most pairs of characters in the text"]["acc"] == 1


def test_baselines_of_answers():
    paragraph = {
        "context": "甲乙丙丁戊己庚辛壬癸子丑",
        "qas": [{"question": "子", "answers": [{"text": "甲乙丙丁戊己庚辛壬癸"}]}],
    }
    found = dict(stretches([paragraph], 7))
    assert found["the first ten characters"] == {"f1": 100, "em": 100}
    assert found["ten characters among the question's"]["f1"] < 100


def test_rows_take_the_place_of_older_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "RESULTS", tmp_path / "tasks.json")
    one, other = (tasks.Row("ner", way, {"f1": 0.5}) for way in ("one", "other"))
    tasks.keep([one], "ner", ["--tasks", "ner"])
    tasks.keep([tasks.Row("answers", "a", {"f1": 1.0})], "answers", [])
    held = tasks.keep([other], "ner", [])
    assert [(row["task"], row["way"]) for row in held] == [("ner", "other"), ("answers", "a")]
    assert json.loads((tmp_path / "tasks.json").read_text())["rows"] == held


@pytest.mark.slow
def test_tasks_are_measured(shared, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "RESULTS", tmp_path / "tasks.json")
    tasks.main(["--tasks", "answers", "choices", "--steps", "1", "--documents", "9", "--epochs_num", "1"])
    rows = json.loads((tmp_path / "tasks.json").read_text())["rows"]
    ways = [row["way"] for row in rows if row["task"] == "answers"]
    assert ways[-2:] == ["from scratch", "pre-trained, fine-tuned"] and len(ways) == 5
    assert "| choices | chance | acc 0." in capsys.readouterr().out


@pytest.mark.slow
def test_prediction_is_measured(shared, capsys):
    assert inference.main(["--rows", "64", "--runs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "The labels of both are the same." in printed
    assert re.search(r"\| ours \| \d+\.\d+ s \| \d+\.\d+ s \|", printed)


@pytest.mark.slow
def test_a_search_is_measured(tmp_path, capsys):
    assert search.main(["--tiny", "--json_path", str(tmp_path / "t.json")]) == 0
    assert "| 2 trials | wall time |" in capsys.readouterr().out
    ways = json.loads((tmp_path / "t.json").read_text())["ways"]
    assert list(ways) == [
        "a plain loop with transformers, padded",
        "lists, one after another",
        "--search grid",
    ]
