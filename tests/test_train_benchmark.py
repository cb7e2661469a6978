"""benchmarks/train.py: it runs at small sizes without a GPU, and prints what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.train_turns import SHORTEST
from uer.cli import run


@pytest.fixture
def script(load_script):
    return load_script("benchmarks/train.py")


def test_the_cases_of_gpus_pass_on_a_cpu_with_small_sizes(script, capsys):
    words = ["--tiny", "--device", "cpu", "--threads", "1", "--clock", "cpu", "--rounds", "1"]
    cases = ["--output", "figures.json", "--cases", "GPT-2 1024"]
    assert script.main([*words, *cases, "--peer", "transformers"]) == 0
    records = json.loads(Path("figures.json").read_text())["records"]
    sides = [(record["case"], record["side"], record["precision"]) for record in records]
    assert ("GPT-2 1024", "transformers", "fp32") in sides and len(sides) == 3
    for record in records:
        assert record["rate"] > 0 and record["ratio"] > 0 and record["peak"] > 1e7
        assert 0 < record["of_products"] < 1, "no model multiplies faster than large products alone"
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
    # The last layer makes queries and feed-forward of the first and second token of each row alone.
    weights -= (2 * 64 + 2 * 8 * 16) * 2
    attention -= 12 * 8 * 2 * 4
    fewer = script.model_flops(case, config, arrays, 100, few=True)
    assert fewer == pytest.approx((6 * weights + attention) / 6)


def test_the_share_is_of_the_products_that_are_fastest_here(script):
    def side(name, about, **turn):
        turns = [{"seconds": 2.0, "peak": 1, **turn}]
        return script.Process(name, about, None, about=about, turns=turns)

    sides = [side("ours", "fp32", tokens=100, rows=10), side("products", "bf16", flops=1e3)]
    sides.append(side("products", "fp32", flops=4e3))
    (record,) = script.figures(script.Case("x", "lm", "", 2, 4), sides, flops={"ours": 10.0}, per_row=10.0)
    assert record["of_products"] == pytest.approx((100 / 2) * 10.0 / (4e3 / 2))
    assert record["products_bf16"] == 500 and record["products_fp32"] == 2000


def test_products_are_timed_for_longer_than_a_clock_is_wrong(script):
    class Asked(script.Process):
        def listen(self):
            return {"about": "bf16"}

        def turn(self, steps):
            return {"seconds": 0.001}

    sides = [Asked(name, "bf16", None) for name in ("ours", "products")]
    script.take_turns(sides, script.BenchmarkOptions(tiny=True, rounds=1))
    assert [side.steps for side in sides] == [1, round(SHORTEST / 0.001)]


def test_a_side_that_finds_no_memory_is_left_out(script, tmp_path):
    """The machine's own word for it, from a process of its own."""
    case = {"device": "cpu", "threads": 1, "data": ""}
    sides = [
        script.start("products", "fp32", {"case": {**case, "config": config}, "peers": {}}, tmp_path / name)
        for name, config in (("too-much", {"products": 10**7}), ("enough", {"products": 64}))
        if (tmp_path / name).mkdir() is None
    ]
    script.take_turns(sides, script.BenchmarkOptions(tiny=True, rounds=2))
    for side in sides:
        side.job.kill()
        side.job.wait()
    assert [(side.left_out, len(side.turns)) for side in sides] == [("there is no memory for it", 0), ("", 2)]
    left = script.Process("uer", "fp32", None, left_out="there is no memory for it")
    kept = [
        script.Process(name, kind, None, about=kind, turns=[{"seconds": 1.0, "peak": 1, **turn}])
        for name, kind, turn in (
            ("ours", "fp32", {"tokens": 9}),
            *(("products", kind, {"flops": 90}) for kind in ("fp32", "bf16")),
        )
    ]
    found = script.figures(script.Case("x", "lm", "", 2, 4), [left, *kept], {"ours": 1.0}, 1.0)
    assert [(record["side"], record["ratio"]) for record in found] == [("ours", 1.0)]


def test_a_side_that_ends_is_left_out(script, tmp_path):
    """A program that does not run on this machine takes no others with it."""
    about = {"case": {"device": "cpu", "threads": 1, "config": {"products": 64}}, "peers": {}}
    sides = [script.start(side, "fp32", about, tmp_path) for side in ("uer", "products")]
    script.take_turns(sides, script.BenchmarkOptions(tiny=True, rounds=2))
    for side in sides:
        side.job.kill()
        side.job.wait()
    assert [(side.left_out, len(side.turns)) for side in sides] == [("it ended with code 1", 0), ("", 2)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--peer", "uer=none"], "--peer is 'uer=none'; it must be transformers, or uer=FOLDER"),
        (["--cases", "BERT", "--device", "cpu"], "--cases is 'BERT'; choose from BERT tiny"),
        (["--clock", "cpu"], "add --threads 1"),
        (["--device", "cuda"], "--device cuda: this machine has no GPU; --tiny --device cpu runs its cases."),
    ],
)
def test_what_cannot_be_measured_is_one_line(script, capsys, monkeypatch, words, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run(script.main, words) == 2
    assert message in capsys.readouterr().err
