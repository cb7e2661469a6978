"""Reading one token of each row gives what the whole encoder gives there, gradients included."""

import pytest
import torch

from uer.config.model import ModelConfig
from uer.layers.layout import Layout
from uer.layers.pooling import pool
from uer.models.build import build_body
from uer.models.initialize import initialize
from uer.tasks.body import pooled

PARTS = {
    "bert": {},
    "gpt2": {"mask": "causal", "layernorm_positioning": "pre", "remove_embedding_layernorm": True},
    "prefix": {"mask": "causal_with_prefix"},
    "t5": {
        "relative_position_embedding": True,
        "embedding": ("word",),
        "layernorm": "t5",
        "layernorm_positioning": "pre",
    },
    "t5_causal": {"relative_position_embedding": True, "mask": "causal"},
    "realformer": {"has_residual_attention": True},
    "albert": {"parameter_sharing": True, "layers_num": 3},
    "lstm": {"encoder": "lstm", "embedding": ("word",)},
}


@pytest.mark.parametrize("kind", ["first", "last", "mean", "max"])
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("even", [False, True])
def test_pooled_is_the_pooled_whole(parts, kind, even, monkeypatch):
    monkeypatch.setattr("uer.layers.layout.WORTH_APART", 1)  # short sequences are attended to apart
    sizes = {"emb_size": 16, "hidden_size": 16, "feedforward_size": 24, "heads_num": 2, "layers_num": 2}
    config = ModelConfig(**{**sizes, "max_seq_length": 16, "dropout": 0.0, **PARTS[parts]})
    torch.manual_seed(0)
    model = build_body(config, 30)
    initialize(model)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    src, seg = torch.randint(5, 30, (4, 9)), torch.ones(4, 9, dtype=torch.long)
    seg[:, 4:] = 2
    if not even:
        for row, length in enumerate((9, 3, 5, 1)):
            seg[row, length:] = 0
    inputs = {"src": src, "seg": seg}
    layout = Layout.from_seg(seg)
    expected = pool(kind, model.encode(inputs, layout=layout).hidden, layout.pack(seg), layout)
    ours = pooled(model, kind, inputs)
    torch.testing.assert_close(ours, expected)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    (pooled(model, kind, inputs) * weights).sum().backward()
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], atol=2e-5, rtol=1e-3)
