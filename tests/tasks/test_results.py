"""The result of every task stands on the page of its run, as it stands in the log."""

import json

import pytest

from tests.tasks.scripts import Folder, finetune, script, words
from tests.tasks.test_streams import QUICK, TABLES, TEXT, question_documents

DBQA = (["qid", "label", "text_a"], lambda i: [i // 3, int(i % 3 == 0), "a b c"[: 1 + i]], lambda folder: {})
ALL = {**TABLES, "run_dbqa": DBQA}
SHOWN = {
    "run_classifier": ("acc", "Confusion matrix (rows: predicted, columns: gold)"),
    "run_classifier_multi_label": ("micro_f1", "Each label"),
    "run_regression": ("pearson", None),
    "run_classifier_prompt": ("acc", "Confusion matrix (rows: predicted, columns: gold)"),
    "run_classifier_siamese": ("mcc", "Confusion matrix (rows: predicted, columns: gold)"),
    "run_simcse": ("spearman", None),
    "run_ner": ("f1", "Each type"),
    "run_text2text": ("rougeL", None),
    "run_dbqa": ("mrr", None),
    "run_c3": ("acc", "Confusion matrix (rows: predicted, columns: gold)"),
    "run_cmrc": ("em", None),
}


def check(folder, name):
    """The page shows the results of the best evaluation and of the test file."""
    score, title = SHOWN[name]
    results = json.loads((folder.path / "model.bin.run" / "results.json").read_text())
    assert list(results) == ["Development, the best evaluation", "Test"]
    page = (folder.path / "model.bin.run" / "report.html").read_text()
    for part, result in results.items():
        assert f"<h2>{part}</h2>" in page
        value = result["scores"][score]
        assert f"<td>{score}</td><td>{'none' if value is None else f'{value:.4f}'}</td>" in page
        assert [table["title"] for table in result["tables"]][:1] == ([title] if title else [])
    assert title is None or page.count(f"<h3>{title}</h3>") == 2


@pytest.mark.parametrize("name", ALL)
def test_tasks_of_tables(tmp_path, name, capsys):
    folder, (columns, make, needs) = Folder(tmp_path), ALL[name]
    path = folder.table("rows.tsv", columns, [make(number) for number in range(6)])
    finetune(name, folder, test_path=path, **{**QUICK, **needs(folder)})
    check(folder, name)


@pytest.mark.parametrize("kind", ["c3", "cmrc"])
def test_tasks_of_documents(tmp_path, kind, capsys):
    folder, (documents, flags) = Folder(tmp_path), question_documents(kind)
    path = folder.write("rows.json", json.dumps(documents[0]))
    finetune(f"run_{kind}", folder, "rows.json", test_path=path, **{**QUICK, **flags})
    check(folder, f"run_{kind}")


def test_several_data_sets(tmp_path, capsys):
    folder = Folder(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in ("train", "dev"):
            folder.table(f"{name}/{file}.tsv", TEXT[0], [TEXT[1](number) for number in range(6)])
    settings = {"dataset_path_list": [folder / "one", folder / "two"], "precision": "fp32"}
    settings |= {"output_model_path": folder / "model.bin", "vocab_path": folder.vocab}
    script("finetune/run_classifier_mt").main(words(config_path=folder.config, **settings, **QUICK))
    page = (tmp_path / "model.bin.run" / "report.html").read_text()
    for number in (1, 2):
        assert f"<h3>Data set {number}: Each label</h3>" in page
