"""T5 (Raffel et al. 2020), T5 v1.1 and mT5 (Xue et al. 2021): gated feed-forward, an output layer of their
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from uer.checkpoints.families.family import ACTIVATIONS, Family, Size, activation_of
from uer.checkpoints.families.rows import Rows, row


def _attention(ours: str, theirs: str) -> Rows:
    """Four linear layers without bias."""
    names = (
        ("linear_layers.0", "q"),
        ("linear_layers.1", "k"),
        ("linear_layers.2", "v"),
        ("final_linear", "o"),
    )
    return tuple(
        entry for one, other in names for entry in row(f"{ours}.{one}.weight", f"{theirs}.{other}.weight")
    )


def _weights(*pairs: tuple[str, str]) -> Rows:
    return tuple(entry for ours, theirs in pairs for entry in row(f"{ours}.weight", f"{theirs}.weight"))


def rows(gated: bool) -> Rows:
    """The key map; the inner layers of a gated feed-forward have names of their own."""
    inner = (("linear_gate", "wi_0"), ("linear_1", "wi_1")) if gated else (("linear_1", "wi"),)
    feed = (*inner, ("linear_2", "wo"))
    bias = "SelfAttention.relative_attention_bias"
    encoder, decoder = "encoder.transformer.{}", "decoder.transformer_decoder.{}"
    return (
        row("embedding.word.embedding.weight", "encoder.embed_tokens.weight", also=("shared.weight",))
        + row("tgt_embedding.word.embedding.weight", "decoder.embed_tokens.weight", also=("shared.weight",))
        + _weights(
            ("encoder.relative_pos_emb.relative_attention_bias", f"encoder.block.0.layer.0.{bias}"),
            ("decoder.self_pos_emb.relative_attention_bias", f"decoder.block.0.layer.0.{bias}"),
            ("encoder.layer_norm", "encoder.final_layer_norm"),
            ("decoder.layer_norm", "decoder.final_layer_norm"),
        )
        + _attention(f"{encoder}.self_attn", "encoder.block.{}.layer.0.SelfAttention")
        + _attention(f"{decoder}.self_attn", "decoder.block.{}.layer.0.SelfAttention")
        + _attention(f"{decoder}.context_attn", "decoder.block.{}.layer.1.EncDecAttention")
        + _weights(
            *((f"{encoder}.layer_norm_{n + 1}", f"encoder.block.{{}}.layer.{n}.layer_norm") for n in range(2))
        )
        + _weights(
            *((f"{decoder}.layer_norm_{n + 1}", f"decoder.block.{{}}.layer.{n}.layer_norm") for n in range(3))
        )
        + _weights(
            *(
                (f"{encoder}.feed_forward.{a}", f"encoder.block.{{}}.layer.1.DenseReluDense.{b}")
                for a, b in feed
            )
        )
        + _weights(
            *(
                (f"{decoder}.feed_forward.{a}", f"decoder.block.{{}}.layer.2.DenseReluDense.{b}")
                for a, b in feed
            )
        )
        + row("target.lm.output_layer.weight", "lm_head.weight", part="lm")
    )


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Feed-forward, depth of the decoder, and the output scale of tied models."""
    kind, _, act = str(values.get("feed_forward_proj", "relu")).rpartition("-")
    act = "gelu_new" if (kind, act) == ("gated", "gelu") else act
    return {
        "feed_forward": "gated" if kind == "gated" else "dense",
        "hidden_act": activation_of(act, "config.json"),
        "decoder_layers_num": values.get("num_decoder_layers"),
        # transformers 5 ties all T5 models and keeps what the flag meant for the scale under another name.
        "scale_lm_output": values.get("scale_decoder_outputs", values.get("tie_word_embeddings", True)),
    }


def write(config: Any) -> dict[str, Any]:
    """The inverse of `read`."""
    act = ACTIVATIONS[config.hidden_act][0]
    gated = "gelu" if act == "gelu_new" else act
    return {
        "feed_forward_proj": f"gated-{gated}" if config.feed_forward == "gated" else act,
        "num_decoder_layers": config.decoder_depth,
        "scale_decoder_outputs": config.scale_lm_output,
    }


T5 = Family(
    name="t5",
    model_types=("t5",),
    prefix="",
    rows=rows(gated=False),
    sizes=(
        Size("hidden_size", "d_model", 512),
        Size("emb_size", "d_model", 512),
        Size("feedforward_size", "d_ff", 2048),
        Size("heads_num", "num_heads", 8),
        Size("attention_head_size", "d_kv", 64),
        Size("layers_num", "num_layers", 6),
        Size("dropout", "dropout_rate", 0.1),
        Size("layernorm_eps", "layer_norm_epsilon", 1e-6),
        Size("relative_attention_buckets_num", "relative_attention_num_buckets", 32),
    ),
    fixed={
        "embedding": ("word",),
        "tgt_embedding": ("word",),
        "remove_embedding_layernorm": True,
        "encoder": "transformer",
        "decoder": "transformer",
        "mask": "fully_visible",
        "layernorm": "t5",
        "layernorm_positioning": "pre",
        "remove_transformer_bias": True,
        "remove_attention_scale": True,
        "relative_position_embedding": True,
        "share_embedding": True,
        "target": ("lm",),
        "pooling": "mean",  # no token stands in front of a text
    },
    written={"is_encoder_decoder": True, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0},
    required={"relative_attention_max_distance": (128,), "is_encoder_decoder": (True,)},
    read=read,
    write=write,
    shared="shared.weight",
    ignored={
        r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight": "never used",
    },
    classes={"": "T5Model", "lm": "T5ForConditionalGeneration"},
)
T5_V1_1 = replace(T5, name="t5-v1_1", rows=rows(gated=True))
MT5 = replace(
    T5_V1_1,
    name="mt5",
    model_types=("mt5",),
    # mT5 in transformers has no output scale, whatever its configuration says.
    read=lambda values: {**read({"feed_forward_proj": "gated-gelu", **values}), "scale_lm_output": False},
    classes={"": "MT5Model", "lm": "MT5ForConditionalGeneration"},
)
