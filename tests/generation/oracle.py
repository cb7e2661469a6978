"""A tiny random GPT-2 of `transformers`, and the same weights in our model."""

from __future__ import annotations

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from uer.config.model import ModelConfig
from uer.models.build import build_model

VOCAB, HIDDEN, LAYERS, HEADS, POSITIONS = 401, 64, 3, 4, 192


def theirs(seed: int = 17, eos: int | list[int] | None = None) -> GPT2LMHeadModel:
    """Weights N(0, 0.15), gains 1 + N(0, 0.15), so that the text does not run into a short loop."""
    config = GPT2Config(
        vocab_size=VOCAB, n_positions=POSITIONS, n_embd=HIDDEN, n_layer=LAYERS, n_head=HEADS,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=2, eos_token_id=eos, pad_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
            if "ln_" in name and name.endswith("weight"):
                parameter.add_(1)
    return model


def config(**changes) -> ModelConfig:
    """Our configuration of the same model."""
    values = {
        "emb_size": HIDDEN, "hidden_size": HIDDEN, "feedforward_size": 4 * HIDDEN, "heads_num": HEADS,
        "layers_num": LAYERS, "max_seq_length": POSITIONS, "hidden_act": "gelu_fast", "dropout": 0.0,
        "embedding": ("word", "pos"), "remove_embedding_layernorm": True, "encoder": "transformer",
        "mask": "causal", "layernorm_positioning": "pre", "layernorm_eps": 1e-5, "target": ("lm",),
        "tie_weights": True,
    }  # fmt: skip
    return ModelConfig(**{**values, **changes})


def ours(gpt2: GPT2LMHeadModel):
    """Our model with the weights of theirs."""
    model, source = build_model(config(), VOCAB).eval(), gpt2.state_dict()
    state = {
        "embedding.word.embedding.weight": source["transformer.wte.weight"],
        "embedding.pos.embedding.weight": source["transformer.wpe.weight"],
        "encoder.layer_norm.gamma": source["transformer.ln_f.weight"],
        "encoder.layer_norm.beta": source["transformer.ln_f.bias"],
        "target.lm.output_layer.weight": source["lm_head.weight"],
    }
    for number in range(LAYERS):
        there, here = f"transformer.h.{number}.", f"encoder.transformer.{number}."
        pairs = {
            "ln_1": "layer_norm_1", "ln_2": "layer_norm_2", "attn.c_proj": "self_attn.final_linear",
            "mlp.c_fc": "feed_forward.linear_1", "mlp.c_proj": "feed_forward.linear_2",
        }  # fmt: skip
        for a, b in pairs.items():
            norm = a.startswith("ln")
            weight = source[f"{there}{a}.weight"]
            state[f"{here}{b}.{'gamma' if norm else 'weight'}"] = weight if norm else weight.T
            state[f"{here}{b}.{'beta' if norm else 'bias'}"] = source[f"{there}{a}.bias"]
        for kind in ("weight", "bias"):
            parts = source[f"{there}attn.c_attn.{kind}"].chunk(3, dim=-1)
            for part, values in enumerate(parts):
                state[f"{here}self_attn.linear_layers.{part}.{kind}"] = (
                    values.mT if values.dim() == 2 else values
                )
    model.load_state_dict(state)
    return model
