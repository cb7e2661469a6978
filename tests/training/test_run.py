"""What every run has around the loop: figures only where someone reads them, a log, the same work for all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.toy import Toy, batches
from uer.config.training import DistributedOptions, OptimizerOptions, TrainOptions
from uer.errors import ConfigError
from uer.training import estimate as estimate_module
from uer.training.precision import Precision
from uer.training.report import pretraining_line
from uer.training.run import Means, Run
from uer.training.windows import Windows
from uer.training.workers import Workers


class Second(Workers):
    """The second of two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.rank, self.size = 1, 2


class FirstOfTwo(Workers):
    """The first of two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 2


def ready(folder=None, workers=None, model=None, distribution=None, **training) -> Run:
    """A run of four batches."""
    options = TrainOptions(report_steps=2, **training)
    means = Means(
        options,
        OptimizerOptions(),
        workers or Workers(),
        distribution or DistributedOptions(),
        {"a": 1},
    )
    return Run(
        model or Toy(),
        batches(6),
        means,
        precision=Precision("fp32"),
        windows=Windows(4),
        found=None,
        line=pretraining_line,
        folder=folder,
        facts={"data": {"rows": 6}},
    )


@pytest.fixture
def passes(monkeypatch):
    """The rows of each pass that was made to estimate."""
    seen, real = [], estimate_module.one_pass

    def counted(model, batch, *rest):
        seen.append(len(batch.ids))
        return real(model, batch, *rest)

    monkeypatch.setattr(estimate_module, "one_pass", counted)
    return seen


def test_no_pass_where_nobody_reads_figures_one_for_speed_two_for_memory(passes, tmp_path):
    assert ready().log.machine is None and passes == []
    assert ready(tmp_path / "x.run", workers=Second()).log.machine is None and passes == []
    assert ready(tmp_path / "x.run").log.machine.flops_per_token > 0 and passes == [4]
    passes.clear()
    assert ready(micro_batches="auto").training.micro_batches == "1" and passes == [1, 4]
    passes.clear()
    with pytest.raises(SystemExit):
        ready(tmp_path / "none.run", dry_run=True)
    assert passes == [1, 4] and not (tmp_path / "none.run").exists()


def test_speed_is_held_against_all_workers(monkeypatch, tmp_path):
    monkeypatch.setattr(estimate_module, "product_rate", lambda precision: 1e9)
    assert ready(tmp_path / "x.run").log.machine.rate == 1e9
    assert ready(tmp_path / "x.run", workers=FirstOfTwo()).log.machine.rate == 2e9


def test_a_run_leaves_its_record(tmp_path):
    run = ready(tmp_path / "x.run")
    before = {name: x.clone() for name, x in run.model.state_dict().items()}
    run.train(saving=None, evaluating=None)
    assert any(not before[name].equal(x) for name, x in run.model.state_dict().items())
    assert json.loads((tmp_path / "x.run" / "config.json").read_text()) == {"a": 1}
    about = json.loads((tmp_path / "x.run" / "environment.json").read_text())
    assert about["precision"] == "fp32" and about["data"] == {"rows": 6}
    records = [json.loads(line) for line in (tmp_path / "x.run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4] and records[-1]["flop_utilisation"] > 0


def test_what_an_engine_cannot_do_is_refused_before_anything_is_written(tmp_path):
    Path("zero.json").write_text('{"zero_optimization": {"stage": 0}}')
    options = DistributedOptions(deepspeed=True, deepspeed_config="zero.json")
    with pytest.raises(ConfigError, match=r"zero_optimization\.stage is 0"):
        ready(tmp_path / "x.run", distribution=options)
    assert not (tmp_path / "x.run").exists()


def test_layers_that_are_not_there_cannot_be_computed_twice(tmp_path):
    with pytest.raises(ConfigError, match="layers of transformers twice, and this model has none; leave it"):
        ready(tmp_path / "x.run", gradient_checkpointing=True)
    assert not (tmp_path / "x.run").exists()


def test_workers_are_told_apart_by_options_facts_and_shapes():
    told = ready()._told
    assert "{'a': 1}" in told and "{'data': {'rows': 6}}" in told and "(30, " in told
