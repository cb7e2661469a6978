"""Where targets read few tokens the last layer computes these alone: the same losses and gradients."""

from __future__ import annotations

import pytest
import torch

from uer.config.model import ModelConfig
from uer.encoders.transformer import TransformerEncoder
from uer.layers.layout import Layout
from uer.models import model as model_module
from uer.models.build import build_model
from uer.models.initialize import initialize

SIZES = {
    **{"emb_size": 16, "hidden_size": 16, "feedforward_size": 24, "heads_num": 2, "layers_num": 3},
    **{"max_seq_length": 32, "dropout": 0.0, "encoder": "transformer", "target": ("mlm", "sp")},
}
SEGMENTS = {"embedding": ("word", "pos", "seg")}
RELATIVE = {"embedding": ("word",), "relative_position_embedding": True}
CASES = {
    "post": {**SEGMENTS, "mask": "fully_visible"},
    "pre": {**SEGMENTS, "mask": "fully_visible", "layernorm_positioning": "pre"},
    "causal": {**SEGMENTS, "mask": "causal"},
    "prefix": {**SEGMENTS, "mask": "causal_with_prefix"},
    "relative": {**RELATIVE, "mask": "fully_visible"},
    "relative, prefix": {**RELATIVE, "mask": "causal_with_prefix"},
    "residual": {**SEGMENTS, "mask": "fully_visible", "has_residual_attention": True},
    "one layer for all": {**SEGMENTS, "mask": "fully_visible", "parameter_sharing": True},
}


def batch(documents: bool) -> tuple[dict, dict]:
    """Rows of different lengths, a seventh of the tokens to be found."""
    draw = torch.Generator().manual_seed(3)
    lengths = torch.tensor([20, 7, 13, 3])
    place = torch.arange(20).expand(4, 20)
    seg = torch.where(place < lengths[:, None] // 2, 1, 2) * (place < lengths[:, None])
    src = torch.randint(1, 30, (4, 20), generator=draw) * (seg > 0)
    hidden = (torch.rand(4, 20, generator=draw) < 0.15) & (seg > 0)
    inputs = {"src": src, "seg": seg}
    if documents:
        inputs["doc"] = torch.where(place < lengths[:, None] // 3, 1, 2) * (seg > 0)
    rows = Layout.from_seg(seg, inputs.get("doc")).sequences
    sp = torch.randint(0, 2, (rows,), generator=draw)
    return inputs, {"mlm": torch.where(hidden, src, -100), "sp": sp}


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_of_all_tokens(monkeypatch, case, documents):
    torch.manual_seed(0)
    model = build_model(ModelConfig(**SIZES, **CASES[case]), 30)
    initialize(model)
    for param in model.parameters():
        torch.nn.init.normal_(param, std=0.3)
    model, computed = model.double(), []
    last = model.encoder.transformer
    last = last[-1] if isinstance(last, torch.nn.ModuleList) else last
    last.feed_forward.register_forward_hook(lambda _, x, out: computed.append(out.numel() // 16))
    inputs, labels = batch(documents)

    def run() -> tuple[dict, dict]:
        model.zero_grad()
        terms = model(inputs, labels)
        sum(term.loss_sum for term in terms.values()).backward()
        return terms, {name: param.grad.clone() for name, param in model.named_parameters()}

    few, few_gradients = run()
    assert computed[-1] < 0.5 * 43, "of 43 tokens"
    with monkeypatch.context() as patch:
        patch.setattr(model_module, "few_tokens", lambda *_: None)
        every, gradients = run()
    assert computed[-1] == 43
    for name, term in every.items():
        torch.testing.assert_close(few[name].loss_sum, term.loss_sum, atol=1e-10, rtol=0)
        assert few[name].count == term.count and few[name].correct == term.correct
    for name, gradient in gradients.items():
        torch.testing.assert_close(few_gradients[name], gradient, atol=1e-10, rtol=0, msg=name)


def test_all_tokens_where_most_are_read_or_a_target_reads_them(monkeypatch):
    seen, inner = [], TransformerEncoder.forward

    def forward(self, *values, **more):
        seen.append(more.get("only"))
        return inner(self, *values, **more)

    monkeypatch.setattr(TransformerEncoder, "forward", forward)
    inputs, labels = batch(False)
    most = torch.where(inputs["seg"] > 0, inputs["src"], -100)
    for target, given in ((("mlm",), {"mlm": most}), (("lm",), {"lm": labels["mlm"]})):
        config = ModelConfig(**{**SIZES, **CASES["post"], "target": target})
        build_model(config, 30)(inputs, given)
    assert seen == [None, None]
