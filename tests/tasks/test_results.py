"""The result of every task stands on the page of its run, as it stands in the log."""

import json
import re

import pytest

from tests.tasks.every import EVERY, prepare, with_test
from tests.tasks.scripts import Folder, finetune

CONFUSION = "Confusion matrix (rows: predicted, columns: gold)"
SHOWN = {
    "run_classifier": ("acc", [CONFUSION, "Each label"]),
    "run_classifier_cv": ("acc", ["Each fold", CONFUSION, "Each label"]),
    "run_classifier_mt": (
        "macro_f1",
        [f"Data set {n}: {title}" for n in (1, 2) for title in (CONFUSION, "Each label")],
    ),
    "run_classifier_multi_label": ("micro_f1", ["Each label"]),
    "run_classifier_prompt": ("acc", [CONFUSION, "Each label"]),
    "run_classifier_siamese": ("mcc", [CONFUSION, "Each label"]),
    "run_simcse": ("spearman", []),
    "run_regression": ("pearson", []),
    "run_ner": ("f1", ["Each type"]),
    "run_cmrc": ("em", []),
    "run_c3": ("acc", [CONFUSION, "Each label"]),
    "run_chid": ("acc", [CONFUSION, "Each label"]),
    "run_dbqa": ("mrr", []),
    "run_text2text": ("rougeL", []),
    "run_uie": ("f1", ["Each prompt"]),
}
"""script → a score, and the tables behind the scores; a search has a page of its own"""


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_of_a_run(tmp_path, name, capsys):
    folder = Folder(tmp_path)
    assert finetune(name, folder, **prepare(name, folder), **with_test(name, folder)) == 0
    log = capsys.readouterr().err
    score, titles = SHOWN[name]
    results = json.loads((tmp_path / "model.bin.run" / "results.json").read_text())
    parts = ["Development, the best evaluation", *(["Test"] if with_test(name, folder) else [])]
    assert list(results) == (["Folds"] if name == "run_classifier_cv" else parts)
    page = (tmp_path / "model.bin.run" / "report.html").read_text()
    card = r'<div class="card results[^"]*"><h2>(.*?)</h2>(.*?)(?=<div class="card|$)'
    cards = re.findall(card, page, re.S)
    assert [title for title, _ in cards] == list(results)
    for (_, card), result in zip(cards, results.values(), strict=True):
        value = result["scores"][score]
        shown = "none" if value is None else f"{value:.4f}"
        assert f"<td>{score}</td><td>{shown}</td>" in card
        assert value is None or shown in log or f"{value:.3f}" in log or name == "run_classifier_mt"
        assert re.findall("<h3>(.*?)</h3>", card) == titles == [table["title"] for table in result["tables"]]


def test_every_script_is_there():
    assert {*SHOWN, "run_classifier_grid"} == set(EVERY)
