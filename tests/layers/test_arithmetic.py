"""Norms, activations, feed-forward layers, positions and pooling against formulas in fp64."""

from __future__ import annotations

import math

import pytest
import torch
from transformers.models.mt5.modeling_mt5 import MT5Attention

from uer.config.model import ACTIVATIONS as ACTIVATION_NAMES
from uer.config.model import LAYERNORMS
from uer.config.model import POOLINGS as POOLING_NAMES
from uer.errors import ConfigError
from uer.layers.activations import ACTIVATIONS, activation
from uer.layers.dropout import Dropout, dropout
from uer.layers.feed_forward import FEED_FORWARDS, feed_forward
from uer.layers.layout import Layout
from uer.layers.norms import NORMS, norm
from uer.layers.pooling import POOLINGS, pool
from uer.layers.positions import RelativePositionBias, relative_buckets, sinusoids_2021, sinusoids_2024


def test_tables_hold_the_names_of_the_configuration() -> None:
    assert tuple(ACTIVATIONS) == ACTIVATION_NAMES
    assert tuple(NORMS) == LAYERNORMS
    assert tuple(POOLINGS) == POOLING_NAMES
    assert tuple(FEED_FORWARDS) == ("dense", "gated")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: activation("gelu_fst"), "hidden_act 'gelu_fst' is unknown.*Did you mean 'gelu_fast'"),
        (lambda: norm("layer", 4, 1e-6), "--layernorm 'layer' is unknown; choose from normal, t5, uer"),
        (
            lambda: feed_forward("gate", 4, 8, "relu"),
            "--feed_forward 'gate' is unknown.*Did you mean 'gated'",
        ),
        (lambda: pool("men", torch.ones(1, 1, 1), torch.ones(1, 1)), "--pooling 'men' is unknown.*'mean'"),
    ],
)
def test_unknown_names(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_norms(eps: float) -> None:
    torch.manual_seed(0)
    x, gain, shift = torch.randn(5, 16), torch.randn(16), torch.randn(16)
    y = x.double()
    mean, centred = y.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    exact = {
        "normal": gain * centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps) + shift,
        "uer": gain * centred / (torch.sqrt((centred**2).sum(-1, keepdim=True) / 15) + eps) + shift,
        "t5": gain * y / torch.sqrt((y**2).mean(-1, keepdim=True) + eps),
    }
    assert mean.shape == (5, 1)
    for name, expected in exact.items():
        module = norm(name, 16, eps)
        values = (gain,) if name == "t5" else (gain, shift)
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), values):
                parameter.copy_(value)
        torch.testing.assert_close(module(x).double(), expected, atol=2e-6, rtol=2e-6)
        low = module(x.bfloat16())
        assert low.dtype == torch.bfloat16
        torch.testing.assert_close(low.double(), expected, atol=0.05, rtol=0.02)
        names = ["weight"] if name == "t5" else ["gamma", "beta"]
        assert [key for key, _ in module.named_parameters()] == names
        assert module.double()(y).dtype == torch.float64


def test_activations() -> None:
    x = torch.linspace(-6, 6, 101)
    y = x.double()
    exact = {
        "gelu": y * 0.5 * (1 + torch.erf(y / math.sqrt(2))),
        "gelu_fast": 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))),
        "relu": y.clamp(min=0),
        "silu": y / (1 + torch.exp(-y)),
        "linear": y,
        "tanh": torch.tanh(y),
    }
    for name, expected in exact.items():
        torch.testing.assert_close(activation(name)(x).double(), expected, atol=1e-6, rtol=1e-6)


def test_feed_forward_layers() -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    for name in FEED_FORWARDS:
        module = feed_forward(name, 4, 6, "silu").double()
        inner = x @ module.linear_1.weight.T + module.linear_1.bias
        if name == "gated":
            gate = x @ module.linear_gate.weight.T + module.linear_gate.bias
            inner = gate * torch.sigmoid(gate) * inner
        else:
            inner = inner * torch.sigmoid(inner)
        torch.testing.assert_close(module(x), inner @ module.linear_2.weight.T + module.linear_2.bias)
        assert not any("bias" in key for key in feed_forward(name, 4, 6, "relu", bias=False).state_dict())


@pytest.mark.parametrize("buckets", [8, 32, 33])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_are_those_of_t5(buckets: int, bidirectional: bool) -> None:
    distance = torch.arange(-700, 701)
    theirs = MT5Attention._relative_position_bucket(distance, bidirectional, buckets, 128)
    assert torch.equal(relative_buckets(distance, buckets, bidirectional=bidirectional), theirs)


def test_position_bias_is_aligned_at_the_end_and_scaled() -> None:
    bias = RelativePositionBias(2, 8, bidirectional=True, scale=0.5)
    whole = bias(6, 6)
    assert whole.shape == (1, 2, 6, 6) and torch.equal(bias(2, 6), whole[:, :, -2:])
    bucket = int(relative_buckets(torch.tensor(3), 8, bidirectional=True))
    assert torch.equal(whole[0, :, 1, 4], bias.relative_attention_bias.weight[bucket] * 0.5)
    assert list(bias.state_dict()) == ["relative_attention_bias.weight"]


def test_sinusoids() -> None:
    rows, size = 600, 12
    for table, exponent in (
        (sinusoids_2021(rows, size), 2 / size),
        (sinusoids_2024(rows, size), 1 / (size // 2 - 1)),
    ):
        for i in range(size // 2):
            angle = torch.arange(rows, dtype=torch.float64) * 10000 ** (-i * exponent)
            torch.testing.assert_close(table[:, 2 * i].double(), angle.sin(), atol=5e-5, rtol=0)
            torch.testing.assert_close(table[:, 2 * i + 1].double(), angle.cos(), atol=5e-5, rtol=0)


@pytest.mark.parametrize("packed", [True, False])
def test_pooling_counts_every_real_token_once(packed: bool) -> None:
    seg = torch.tensor([[1, 1, 2, 2, 0], [1, 0, 0, 0, 0], [0, 0, 1, 2, 2]])
    x = torch.randn(3, 5, 4) - 5  # negative: a maximum over padding would be 0
    exact = {
        "first": [x[0, 0], x[1, 0], x[2, 2]],
        "last": [x[0, 3], x[1, 0], x[2, 4]],
        "mean": [x[0, :4].mean(0), x[1, 0], x[2, 2:].mean(0)],
        "max": [x[0, :4].amax(0), x[1, 0], x[2, 2:].amax(0)],
    }
    layout = Layout.from_seg(seg)
    for kind, expected in exact.items():
        ours = pool(kind, layout.pack(x), layout.pack(seg), layout) if packed else pool(kind, x, seg)
        torch.testing.assert_close(ours, torch.stack(expected))


def test_dropout_rate_and_scale() -> None:
    torch.manual_seed(4)
    x = torch.ones(100_003, requires_grad=True)  # no multiple of four
    for rate in (0.1, 0.5):
        y = dropout(x, rate)
        kept = y != 0
        assert abs(float(kept.float().mean()) - (1 - rate)) < 0.006
        torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - rate)), rtol=2e-5, atol=0)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(gradient, y.detach())
    assert not dropout(x, 1.0).any() and dropout(x, 0.0) is x
    assert dropout(x.bfloat16(), 0.5).dtype == torch.bfloat16
    halves = dropout(torch.ones(8, 4096), 0.5)
    assert float((halves[0] * halves[1] > 0).float().mean()) < 0.3  # rows draw for themselves


def test_dropout_module_and_seed() -> None:
    module, x = Dropout(0.4), torch.randn(50, 3)
    assert module.eval()(x) is x
    module.train()
    torch.manual_seed(7)
    first = module(x)
    torch.manual_seed(7)
    assert torch.equal(module(x), first) and not torch.equal(module(x), first)
