"""benchmarks/generation.py at small sizes: every kind of thing is measured once, and stands in the tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from uer.utils.files import repository_root

ROOT = repository_root()
RATE = {"kind": "rate", "rows": 1, "tokens": 4, "round": 0}
JOBS = [
    {"kind": "command", "precision": "int8", "tokens": 128, "round": 0},
    {**RATE, "who": "transformers", "precision": "bf16"},
    {**RATE, "who": "transformers", "precision": "fp32"},
    {**RATE, "who": "ours", "precision": "int8"},
    {"kind": "features", "who": "transformers", "round": 0},
    {"kind": "features", "who": "ours", "round": 0},
    {"kind": "perplexity", "precision": "fp32"},
    {"kind": "perplexity", "precision": "int8"},
    {"kind": "bandwidth", "round": 0},
]


@pytest.fixture
def bench(load_script, monkeypatch):
    """The benchmark as a module."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # it sets this for the programs that it starts
    return load_script("benchmarks/generation.py")


@pytest.fixture
def sides(bench, load_script, monkeypatch, shared):
    """What it measures, with small models."""
    sides = load_script("benchmarks/generation_sides.py")
    monkeypatch.setitem(sys.modules, "generation_sides", sides)
    monkeypatch.setattr(sides, "LM_CONFIG", ROOT / "models" / "gpt2" / "tiny_config.json")
    for name, value in {"STEPS": 2, "TRAINED": {}, "HELD_OUT": 3, "REVIEWS": 4}.items():
        monkeypatch.setattr(sides, name, value)
    return sides


@pytest.mark.slow
def test_everything_is_measured_once_and_tabled(bench, sides, monkeypatch, capsys):
    monkeypatch.setattr(bench, "jobs", lambda rounds: iter(JOBS))
    words = ["--threads", "1", "--results", "found.jsonl"]
    assert bench.main(words) == 0
    rows = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    assert [{key: x for key, x in row.items() if key != "value"} for row in rows] == JOBS
    assert all(row["value"] > 0 for row in rows)
    said = capsys.readouterr().out
    assert "| int8 | 128 |" in said and "| 1 | ours int8 |" in said and "The memory gives" in said
    assert "| ours | " in said and "+0.000% |" in said
    monkeypatch.setattr(sides, "Bench", None)  # nothing is measured again
    assert bench.main(words) == 0 and len(Path("found.jsonl").read_text().splitlines()) == len(rows)


def test_the_tables_say_what_was_measured(bench, tmp_path):
    every = list(bench.jobs(2))
    assert len(every) == len({json.dumps(key, sort_keys=True) for key in every})
    found = bench.Measurements(tmp_path / "f.jsonl")
    for key in every:
        value = {"command": 1.0 + key.get("tokens", 0) / 100, "rate": 100.0, "bandwidth": 20.0}
        found.add(key, value.get(key["kind"], 2.0 + (key.get("precision") == "int8")))
    said = bench.tables(bench.Measurements(tmp_path / "f.jsonl"))
    assert "| int8 | 512 | 6.12 | 80.7 | 13.2 | 10.0 |" in said
    assert "| 32 | ours bf16 | 100 | 1.00 | 1.00 |  |" in said
    assert "| 1 | ours fp32 | 100 | 1.00 | 1.00 | 117% |" in said
    assert "| int8 | 3.000 | +50.000% |" in said
