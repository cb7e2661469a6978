"""Fewer bytes a weight: the same model within rounding, the rounding measured."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.generation import oracle
from tests.generation.test_generate import PROMPTS, generate, new_ids, reference
from uer.config.generation import DecodingOptions
from uer.errors import EnvironmentFault
from uer.generation import precision as module
from uer.generation.generate import Generator
from uer.generation.layers import FusedLayer
from uer.generation.precision import Int8Linear, PackedLinear, ready
from uer.models.build import build_model


@torch.inference_mode()
def logits(model, rows=3, length=40):
    ids = torch.randint(5, 400, (rows, length), generator=torch.Generator().manual_seed(1))
    return model.target.lm.logits(model.encode({"src": ids}).hidden).float()


def loss(values):
    ids = torch.randint(5, 400, (3, 40), generator=torch.Generator().manual_seed(1))
    return float(torch.nn.functional.cross_entropy(values[:, :-1].flatten(0, 1), ids[:, 1:].flatten()))


@pytest.mark.parametrize(
    ("precision", "rows", "error"),
    [
        ("fp32", None, 0),
        ("fp32", 1, 1e-5),
        ("fp32", 32, 1e-5),
        ("bf16", None, 0.03),
        ("bf16", 1, 0.03),
        ("int8", 1, 0.05),
    ],
)
def test_logits_within_rounding(model, precision, rows, error):
    expected = logits(model)
    found = logits(ready(copy.deepcopy(model), precision, rows=rows))
    assert float((found - expected).norm() / expected.norm()) <= error
    assert loss(found) == pytest.approx(loss(expected), rel=max(error, 1e-6))


def test_what_is_replaced(model):
    every = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    for precision, kind in (("int8", Int8Linear), ("bf16", PackedLinear), ("fp32", PackedLinear)):
        made = ready(copy.deepcopy(model), precision, rows=1)
        # Queries, keys and values of a layer come from one.
        assert sum(isinstance(m, kind) for m in made.modules()) == len(every) - 2 * oracle.LAYERS
        assert sum(isinstance(m, FusedLayer) for m in made.modules()) == oracle.LAYERS
        assert not any(type(m) is torch.nn.Linear for m in made.modules())
        assert not made.training and not any(p.requires_grad for p in made.parameters())


def test_a_layer_used_twice_stays_one():
    linear = torch.nn.Linear(4, 4)
    made = ready(torch.nn.Sequential(linear, torch.nn.ReLU(), linear), "int8")
    assert made[0] is made[2]


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_any_leading_shape(shape, bias):
    linear, x = torch.nn.Linear(5, 7, bias=bias), torch.randn(*shape)
    torch.testing.assert_close(PackedLinear(linear, 1)(x), linear(x))
    torch.testing.assert_close(Int8Linear(linear)(x), linear(x), atol=0.05, rtol=0.05)
    assert Int8Linear(linear).out_features == PackedLinear(linear, 1).out_features == 7


def test_packed_weights_give_the_same_text(model, tokenizer):
    options = DecodingOptions(top_k=1, max_new_tokens=60)
    plain, packed = (
        [text.ids for (text,) in Generator(m, tokenizer, options, length=192)(PROMPTS)]
        for m in (model, ready(copy.deepcopy(model), "fp32", rows=4))
    )
    assert plain == packed


@pytest.mark.parametrize("together", [True, False])
def test_packed_weights_write_what_transformers_writes(gpt2, model, tokenizer, together):
    packed = ready(copy.deepcopy(model), "fp32", rows=len(PROMPTS) if together else 1)
    texts = generate(packed, tokenizer, batch_size=64 if together else 1)
    for prompt, (text,) in zip(PROMPTS, texts):
        assert text.ids == new_ids(reference(gpt2, prompt), prompt)


@pytest.mark.parametrize(
    "changes",
    [
        {"layernorm_positioning": "post"},
        {"layernorm": "t5"},
        {"layernorm": "uer"},
        {"feed_forward": "gated", "remove_transformer_bias": True},
        {"mask": "causal_with_prefix", "embedding": ("word", "pos", "seg")},
        {"parameter_sharing": True},
        {"relative_position_embedding": True, "embedding": ("word",)},
        {"has_residual_attention": True},
        {"encoder": "gru"},
    ],
    ids=str,
)
def test_the_shorter_way_writes_the_same_in_every_kind_of_layer(tokenizer, changes):
    torch.manual_seed(3)
    plain = build_model(oracle.config(**changes), oracle.VOCAB).eval()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.normal_(float("gamma" in name), 0.15)
    packed = ready(copy.deepcopy(plain), "fp32", rows=4)
    wanted = [text.ids for (text,) in generate(plain, tokenizer, new=64)]
    assert [text.ids for (text,) in generate(packed, tokenizer, new=64)] == wanted
    assert [text.ids for (text,) in generate(packed, tokenizer, new=64, batch_size=1)] == wanted
    beams = generate(packed, tokenizer, PROMPTS[:2], new=20, beam_size=3)
    assert [t.ids for (t,) in beams] == [
        t.ids for (t,) in generate(plain, tokenizer, PROMPTS[:2], new=20, beam_size=3)
    ]


def test_int8_where_there_is_no_kernel(model, monkeypatch):
    monkeypatch.setattr(module, "ENGINE", "none")
    with pytest.raises(EnvironmentFault, match="--precision int8 needs a CPU for which torch brings none"):
        ready(copy.deepcopy(model), "int8")


def test_seven_bits_without_vnni(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    linear, x = torch.nn.Linear(64, 64), torch.randn(8, 64)
    torch.testing.assert_close(Int8Linear(linear)(x), linear(x), atol=0.05, rtol=0.05)
