"""Small models of every kind, for the properties that all of them share."""

from __future__ import annotations

import torch

from uer.config.model import ModelConfig
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.models.model import Model

SIZES = {"emb_size": 16, "hidden_size": 16, "feedforward_size": 24, "heads_num": 2, "layers_num": 2}
SIZES |= {"max_seq_length": 32, "dropout": 0.0}
ENCODERS = {
    "bert": {},
    "gpt2": {"embedding": ("word", "pos"), "mask": "causal", "layernorm_positioning": "pre"},
    "prefixlm": {"mask": "causal_with_prefix"},
    "t5": {"embedding": ("word",), "layernorm": "t5", "relative_position_embedding": True, "mask": "causal",
           "remove_transformer_bias": True, "feed_forward": "gated", "attention_head_size": 6},
    "albert": {"emb_size": 12, "factorized_embedding_parameterization": True, "parameter_sharing": True},
    "realformer": {"has_residual_attention": True, "layernorm": "uer", "mask": "causal"},
    "sinusoid": {"embedding": ("word", "sinusoidalpos"), "mask": "causal"},
    "rnn": {"encoder": "rnn", "embedding": ("word",)},
    "lstm": {"encoder": "lstm", "embedding": ("word",), "emb_size": 12},
    "gru": {"encoder": "gru", "embedding": ("word",)},
    "bigru of one stack": {"encoder": "gru", "bidirectional": True, "embedding": ("word",)},
    "birnn": {"encoder": "birnn", "embedding": ("word",)},
    "bilstm": {"encoder": "bilstm", "embedding": ("word",)},
    "bigru": {"encoder": "bigru", "embedding": ("word",)},
    "gatedcnn": {"encoder": "gatedcnn", "embedding": ("word",), "layers_num": 4, "emb_size": 12},
}  # fmt: skip
ONE_WAY = ("gpt2", "t5", "realformer", "sinusoid", "rnn", "lstm", "gru", "gatedcnn")
DECODERS = {
    "bart": {"embedding": ("word", "pos"), "tgt_embedding": ("word", "pos")},
    "t5 decoder": {"embedding": ("word",), "tgt_embedding": ("word",), "layernorm": "t5",
                   "share_embedding": True,
                   "relative_position_embedding": True, "layernorm_positioning": "pre", "tie_weights": True},
}  # fmt: skip
VOCAB = 50


def small(name: str, *, target: tuple[str, ...] = (), **changes: object) -> Model:
    """A model of `ENCODERS` or `DECODERS` with weights large enough to show every mistake."""
    kind = {**DECODERS[name], "decoder": "transformer"} if name in DECODERS else ENCODERS[name]
    config = ModelConfig(**{**SIZES, **kind, "target": target, **changes})
    torch.manual_seed(5)
    model = build_model(config, VOCAB)
    initialize(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def batch(rows: int = 3, length: int = 9, *, left: bool = False) -> dict[str, torch.Tensor]:
    """Random ids, two texts in each row, padding of 0, 1, 2 … tokens on one side."""
    src = torch.randint(1, VOCAB, (rows, length))
    seg = torch.ones(rows, length, dtype=torch.long)
    seg[:, length // 2 :] = 2
    for row in range(rows):
        hidden = slice(0, row) if left else slice(length - row, length)
        src[row, hidden] = seg[row, hidden] = 0
    return {"src": src, "seg": seg}
