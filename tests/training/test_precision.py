"""Which arithmetic is chosen, and fp16's loss scaling."""

from __future__ import annotations

import json

import pytest
import torch

from uer.config.training import PRECISIONS, TrainOptions
from uer.errors import ConfigError
from uer.training import precision
from uer.training.precision import FIRST_SCALE, GROWTH_AFTER, Precision, choose_precision, probe


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "uer" / "precision.json"


def test_names_are_those_of_the_flag():
    assert set(PRECISIONS) == {"auto", *precision.DTYPES}
    with pytest.raises(ConfigError, match=r"--precision is 'bf61'; choose from .* Did you mean 'bf16'"):
        TrainOptions(precision="bf61")


def test_bf16_products_and_fp32_weights_and_gradients():
    layer = torch.nn.Linear(4, 4)
    with Precision("bf16").autocast():
        out = layer(torch.randn(2, 4))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert layer.weight.dtype == layer.weight.grad.dtype == torch.float32
    with Precision("fp32").autocast():
        assert layer(torch.randn(2, 4)).dtype == torch.float32


def test_fp16_on_a_cpu_is_one_line():
    with pytest.raises(
        ConfigError, match="--precision fp16 needs a GPU and this run is on the CPU; type --precision auto"
    ):
        choose_precision("fp16", "cpu", 128)


@pytest.mark.parametrize(("ratio", "name"), [(2.0, "bf16"), (1.05, "fp32"), (0.4, "fp32")])
def test_auto_takes_bf16_only_where_it_is_faster(cache, monkeypatch, ratio, name):
    measured = []
    monkeypatch.setattr(precision, "_ratio", lambda width: measured.append(width) or ratio)
    chosen, why = choose_precision("auto", "cpu", 200)
    assert chosen.name == name
    assert why == f"auto: at width 256 bf16 takes {1 / ratio:.2f} of fp32's time on this machine"
    assert measured == [128, 256, 512, 1024]
    choose_precision("auto", "cpu", 768)
    assert len(measured) == 4, "the second run measures nothing"
    assert list(json.loads(cache.read_text())) == [precision.machine_key()]


def test_a_damaged_or_foreign_cache_is_measured_anew(cache, monkeypatch):
    monkeypatch.setattr(precision, "_ratio", lambda width: 3.0)
    cache.parent.mkdir()
    for content in (
        "",
        "[]",
        '{"other machine": {"128": 1.0}}',
        json.dumps({precision.machine_key(): {"128": 1.0}}),
    ):
        cache.write_text(content)
        assert probe() == {"128": 3.0, "256": 3.0, "512": 3.0, "1024": 3.0}
    assert json.loads(cache.read_text())[precision.machine_key()] == probe()


def test_the_first_of_two_processes_that_measure_decides(cache, monkeypatch):
    def slow(width):
        cache.parent.mkdir(exist_ok=True)
        others = {"128": 1.5, "256": 1.5, "512": 1.5, "1024": 1.5}
        cache.write_text(json.dumps({precision.machine_key(): others}))
        return 3.0

    monkeypatch.setattr(precision, "_ratio", slow)
    assert probe()["512"] == 1.5


def test_a_cache_that_cannot_be_written_is_said_and_no_fault(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(precision, "_ratio", lambda width: 3.0)
    monkeypatch.setattr(precision.logger, "propagate", True)
    with caplog.at_level("INFO", logger="uer"):
        assert probe()["128"] == 3.0
    assert "was measured but not kept for the next run" in caplog.text


def test_the_real_probe_measures_and_leaves_the_generator_alone(cache, monkeypatch):
    monkeypatch.setattr(precision, "PROBED_WIDTHS", (32,))
    monkeypatch.setattr(precision, "PROBED_SECONDS", 0.0)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert probe()["32"] > 0
    assert torch.equal(torch.rand(1), expected)


def test_the_loss_scale_falls_after_an_overflow_and_rises_after_many_good_updates():
    one = Precision("fp16", "cpu")
    assert float(one.scaled(torch.tensor(2.0))) == 2 * FIRST_SCALE
    one.adjust(torch.tensor(1.0))
    assert float(one.scale) == FIRST_SCALE / 2
    for _ in range(GROWTH_AFTER - 1):
        one.adjust(torch.tensor(0.0))
    other = Precision("fp16", "cpu")
    other.load(one.state())
    for each in (one, other):
        assert float(each.scale) == FIRST_SCALE / 2
        each.adjust(torch.tensor(0.0))
        assert float(each.scale) == FIRST_SCALE
    assert one.state() == other.state()
    assert Precision("fp32").state() == {} and float(Precision("fp32").scaled(torch.tensor(2.0))) == 2.0
