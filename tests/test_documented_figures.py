"""Figures of the docs are those of benchmarks/results, rounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from uer.utils.files import repository_root

ROOT = repository_root()
PAGES = {"ner": "ner", "emotions": "classifier", "choices": "multiple_choice", "answers": "extractive_qa"}


def results(name: str, key: str) -> list[dict[str, Any]]:
    """What a benchmark wrote down."""
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))[key]


def cells(page: str) -> list[str]:
    """All cells of the tables of a page, without marks of emphasis."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [cell.strip(" *") for line in lines if line.startswith("|") for cell in line.split("|")]


@pytest.mark.parametrize("task", PAGES)
def test_scores_of_tasks(task):
    rows = [row for row in results("tasks.json", "rows") if row["task"] == task]
    found = cells(f"tasks/{PAGES[task]}.md")
    scores = [score for row in rows for score in row["scores"].values()]
    assert scores
    missing = [score for score in scores if not {f"{score:.{n}f}" for n in (1, 3, 4)} & set(found)]
    assert not missing, f"docs/tasks/{PAGES[task]}.md lacks {missing}"


def test_seconds_of_preprocessing_beside_the_peers():
    """Of the smaller corpus: seconds, and processor seconds in brackets."""
    found, seen = cells("data.md"), 0
    records = [record for record in results("preprocess.json", "records") if record["table"] == "build"]
    for record in records:
        sides = [side for side in (record, record.get("UER-py")) if side and record["MB"] < 100]
        for side, style in zip(sides, ("{:.2f} ({:.2f})", "{:.1f} ({:.0f})")):
            assert style.format(side["s"], side["CPU s"]) in found, record["name"]
            seen += 1
    assert seen >= 10


def test_rates_of_tokenising():
    found = cells("data.md")
    records = [record for record in results("preprocess.json", "records") if record["table"] == "tokenise"]
    assert len(records) == 5
    for record in records:
        assert record["name"] in found
        assert {f"{record[who]:.1f}" for who in ("ours", "encode_batch", "encode_batch_fast")} <= set(found)


def test_seconds_of_a_search():
    ways, found = results("search.json", "ways"), cells("tasks/search.md")
    assert len(ways) == 4
    for way in ways.values():
        times = ways["UER-py"]["wall"] / way["wall"]
        assert {f"{way['wall']:.1f} s", f"{way['processor']:.1f} s", f"{times:.1f}"} <= set(found)
