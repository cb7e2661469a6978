"""Encoders: names, tables, options. Golden cases and the properties of whole models hold their numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.models.zoo import ENCODERS as ZOO
from tests.models.zoo import batch, small
from uer.config.model import ENCODERS as NAMES
from uer.encoders import ENCODERS, recurrent
from uer.encoders.gatedcnn import GatedcnnEncoder
from uer.encoders.recurrent import RecurrentEncoder
from uer.layers.layout import Layout
from uer.layers.masks import AttentionMask
from uer.utils.lazy import load


def test_table_holds_the_names_of_the_configuration() -> None:
    assert tuple(ENCODERS) == NAMES
    assert all(issubclass(load(target), torch.nn.Module) for target in ENCODERS.values())
    assert {small(name).config.encoder for name in ZOO} == set(NAMES) - {"dual"}


@torch.no_grad()
def test_a_mask_may_be_given() -> None:
    model, inputs = small("bert"), batch()
    causal = small("bert", mask="causal")
    streams = model.source(inputs, None).streams
    hidden = model.embedding(streams)
    ours = model.encoder(hidden, streams["seg"], mask=AttentionMask(causal=True)).hidden
    real = inputs["seg"] > 0
    torch.testing.assert_close(ours[real], causal.encode(inputs).hidden[real])


@torch.no_grad()
def test_a_shared_layer_is_one_layer() -> None:
    model = small("albert", layers_num=3)
    assert len(list(model.encoder.transformer.children())) > 0
    assert sum("self_attn.final_linear.weight" in name for name in model.state_dict()) == 1
    out = model.encode(batch(), all_layers=True)
    assert len(out.layers) == 4 and out.layers[0].shape[-1] == 16  # after the linear E → H


@torch.no_grad()
def test_what_lies_between_the_layers_of_a_recurrent_stack() -> None:
    for name in ("lstm", "gru", "rnn", "bigru of one stack"):
        model, inputs = small(name), batch()
        layers = model.encode(inputs, all_layers=True).layers
        stack = model.encoder.rnn
        alone = type(stack)(
            stack.input_size, stack.hidden_size, 1, batch_first=True, bidirectional=stack.bidirectional
        )
        state = stack.state_dict()
        alone.load_state_dict({key: state[key] for key in alone.state_dict()})
        embedded = model.embedding({"word": inputs["src"][:1]})
        torch.testing.assert_close(layers[1][:1], alone(embedded)[0])


def test_recurrences_read_real_tokens_only() -> None:
    model, inputs = small("bilstm"), batch()
    before = model.encode(inputs).hidden
    inputs["src"][inputs["seg"] == 0] = 9
    assert torch.equal(model.encode(inputs).hidden, before)
    layout = Layout.dense(*inputs["src"].shape)
    whole = layout.unpack(model.encode(inputs, layout=layout).hidden)
    assert not torch.allclose(whole[2, :7], before[2, :7])


@pytest.mark.parametrize("name", ["lstm", "gru", "bilstm", "bigru of one stack"])
def test_recurrences_that_would_be_fp16_are_computed_in_fp32(name: str, monkeypatch: Any) -> None:
    model, inputs = small(name), batch()
    exact = model.encode(inputs).hidden
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(model.encode(inputs).hidden.float(), exact)
        monkeypatch.setattr(recurrent, "cast_to_fp16", lambda device: True)
        apart = model.encode(inputs).hidden
    assert apart.dtype == torch.float32 and torch.equal(apart, exact)


@pytest.mark.parametrize("chosen", [torch.bfloat16, torch.float16, None])
def test_fp16_is_what_autocast_takes_on_a_gpu(chosen: torch.dtype | None, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: chosen is not None)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: chosen)
    assert recurrent.cast_to_fp16("cuda") == (chosen == torch.bfloat16)
    assert not recurrent.cast_to_fp16("cpu")


def test_dropout_lies_between_the_layers_and_on_the_output() -> None:
    for name in ("lstm", "bilstm"):
        model = small(name, dropout=0.5).train()
        assert isinstance(model.encoder, RecurrentEncoder)
        out = model.encode(batch()).hidden[:1]
        assert 0.2 < float((out == 0).float().mean()) < 0.8
        stacks = [module for module in model.modules() if isinstance(module, torch.nn.RNNBase)]
        assert all(stack.dropout == 0.5 for stack in stacks)
        assert all(
            s.dropout == 0
            for s in small(name, dropout=0.5, layers_num=1).modules()
            if hasattr(s, "num_layers")
        )


@torch.no_grad()
def test_gated_convolutions_against_two_dimensional_ones() -> None:
    torch.manual_seed(0)
    encoder = GatedcnnEncoder(5, 6, layers_num=5, kernel_size=3, block_size=2)
    for parameter in encoder.parameters():
        parameter.normal_()
    x = torch.randn(2, 7, 5)

    def gated(h: torch.Tensor, *modules: object) -> torch.Tensor:
        conv, gate, conv_b, gate_b = modules
        h = F.pad(h, (0, 0, 2, 0))
        return (conv(h) + conv_b) * torch.sigmoid(gate(h) + gate_b)

    h = gated(x[:, None], encoder.conv_1, encoder.gate_1, encoder.conv_b1, encoder.gate_b1)
    kept = h
    for number in range(4):
        h = gated(
            h, encoder.conv[number], encoder.gate[number], encoder.conv_b[number], encoder.gate_b[number]
        )
        if number in (1, 3):
            h = kept = h + kept
    ours = encoder(x, torch.ones(2, 7, dtype=torch.long)).hidden
    torch.testing.assert_close(ours, h.squeeze(3).transpose(1, 2), atol=1e-5, rtol=1e-5)
