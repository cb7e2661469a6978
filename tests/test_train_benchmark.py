"""benchmarks/train.py: it runs at small sizes without a GPU, and prints what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from uer.cli import run


@pytest.fixture
def script(load_script):
    return load_script("benchmarks/train.py")


def test_the_cases_of_gpus_pass_on_a_cpu_with_small_sizes(script, capsys):
    words = ["--tiny", "--device", "cpu", "--threads", "1", "--rounds", "1", "--output", "figures.json"]
    cases = ["--cases", "GPT-2 1024"]
    assert script.main([*words, *cases, "--peer", "transformers"]) == 0
    records = json.loads(Path("figures.json").read_text())["records"]
    sides = [(record["case"], record["side"], record["precision"]) for record in records]
    assert ("GPT-2 1024", "transformers", "fp32") in sides and len(sides) == 3
    for record in records:
        assert record["rate"] > 0 and record["ratio"] > 0 and record["peak"] > 1e7
        assert record["of_products"] > 0
    said = capsys.readouterr().out
    assert "the cases for GPUs are unmeasured" in said and said.rstrip().splitlines()[-1].startswith(
        "| GPT-2 1024"
    )


def test_operations_of_a_model(script):
    case = script.Case("x", "bert", "", 2, 4)
    arrays = {"seg": np.array([[1, 1, 0, 0], [1, 1, 1, 1]]), "mlm": np.array([[-100, 3, -100, -100]] * 2)}
    config = {"hidden_size": 8, "feedforward_size": 16, "layers_num": 2}
    weights = 2 * (4 * 64 + 2 * 8 * 16) * 6 + 2 * (100 * 8 + 64)
    attention = 12 * 2 * 8 * (4 + 16)
    assert script.model_flops(case, config, arrays, 100) == pytest.approx((6 * weights + attention) / 6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--peer", "uer=none"], "--peer is 'uer=none'; it must be transformers, or uer=FOLDER"),
        (["--cases", "BERT", "--device", "cpu"], "--cases is 'BERT'; choose from BERT tiny"),
        (["--clock", "cpu"], "add --threads 1"),
    ],
)
def test_what_cannot_be_measured_is_one_line(script, capsys, words, message):
    assert run(script.main, words) == 2
    assert message in capsys.readouterr().err
