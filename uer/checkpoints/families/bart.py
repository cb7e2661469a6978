"""BART (Lewis et al. 2020) and PEGASUS (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from uer.checkpoints.families.family import Family, Size
from uer.checkpoints.families.rows import Rows, linear, norm, row
from uer.errors import CheckpointError


def _attention(ours: str, theirs: str) -> Rows:
    names = (
        ("linear_layers.0", "q_proj"),
        ("linear_layers.1", "k_proj"),
        ("linear_layers.2", "v_proj"),
        ("final_linear", "out_proj"),
    )
    return tuple(entry for one, other in names for entry in linear(f"{ours}.{one}", f"{theirs}.{other}"))


def _feed_forward(ours: str, theirs: str) -> Rows:
    return linear(f"{ours}.feed_forward.linear_1", f"{theirs}.fc1") + linear(
        f"{ours}.feed_forward.linear_2", f"{theirs}.fc2"
    )


ENCODER, DECODER = "encoder.transformer.{}", "decoder.transformer_decoder.{}"
THEIR_ENCODER, THEIR_DECODER = "model.encoder.layers.{}", "model.decoder.layers.{}"
SHARED = ("model.shared.weight",)
COMMON = (
    row("embedding.word.embedding.weight", "model.encoder.embed_tokens.weight", also=SHARED)
    + row("tgt_embedding.word.embedding.weight", "model.decoder.embed_tokens.weight", also=SHARED)
    + _attention(f"{ENCODER}.self_attn", f"{THEIR_ENCODER}.self_attn")
    + norm(f"{ENCODER}.layer_norm_1", f"{THEIR_ENCODER}.self_attn_layer_norm")
    + _feed_forward(ENCODER, THEIR_ENCODER)
    + norm(f"{ENCODER}.layer_norm_2", f"{THEIR_ENCODER}.final_layer_norm")
    + _attention(f"{DECODER}.self_attn", f"{THEIR_DECODER}.self_attn")
    + norm(f"{DECODER}.layer_norm_1", f"{THEIR_DECODER}.self_attn_layer_norm")
    + _attention(f"{DECODER}.context_attn", f"{THEIR_DECODER}.encoder_attn")
    + norm(f"{DECODER}.layer_norm_2", f"{THEIR_DECODER}.encoder_attn_layer_norm")
    + _feed_forward(DECODER, THEIR_DECODER)
    + norm(f"{DECODER}.layer_norm_3", f"{THEIR_DECODER}.final_layer_norm")
    + row("target.lm.output_layer.weight", "lm_head.weight", part="lm")
    + row("target.lm.output_layer.bias", "final_logits_bias", "squeeze", part="lm")
)
BART_ROWS = (
    COMMON
    + row("embedding.pos.embedding.weight", "model.encoder.embed_positions.weight", "offset_2")
    + row("tgt_embedding.pos.embedding.weight", "model.decoder.embed_positions.weight", "offset_2")
    + norm("embedding.layer_norm", "model.encoder.layernorm_embedding")
    + norm("tgt_embedding.layer_norm", "model.decoder.layernorm_embedding")
)
PEGASUS_ROWS = (
    COMMON
    + norm("encoder.layer_norm", "model.encoder.layer_norm")
    + norm("decoder.layer_norm", "model.decoder.layer_norm")
)


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """The depth of the decoder; all else must be as in the encoder.

    Raises:
        CheckpointError: it is not.
    """
    for name in ("ffn_dim", "attention_heads"):
        encoder, decoder = values.get(f"encoder_{name}"), values.get(f"decoder_{name}")
        if encoder != decoder:
            raise CheckpointError(
                f"config.json: encoder_{name} is {encoder} and decoder_{name} is {decoder}; only equal ones "
                "are supported."
            )
    return {"decoder_layers_num": values.get("decoder_layers", 12)}


def write(config: Any) -> dict[str, Any]:
    """What their decoders say apart."""
    return {
        "decoder_layers": config.decoder_depth,
        "decoder_ffn_dim": config.feedforward_size,
        "decoder_attention_heads": config.heads_num,
    }


def layouts(rows: int, size: int) -> dict[str, Any]:
    """The sinusoids of every layout by its name, [rows, size] each."""
    from uer.layers.positions import sinusoids_2021, sinusoids_2024, sinusoids_pegasus

    return {
        "pegasus": sinusoids_pegasus(rows, size),
        "2021": sinusoids_2021(rows, size),
        "2024": sinusoids_2024(rows + 2, size)[2:],
    }


def tables(config: Any) -> dict[str, Any]:
    """The sinusoids of both sides, as their files have them."""
    table = layouts(config.max_seq_length, config.emb_size)[config.sinusoid]
    return {f"model.{side}.embed_positions.weight": table.clone() for side in ("encoder", "decoder")}


def sniff(state: Mapping[str, Any]) -> dict[str, Any]:
    """The layout of the sinusoids, if the file holds them: UER-py exported its own of 2021.

    Raises:
        CheckpointError: they are in no known layout.
    """
    import torch

    table = next((tensor for name, tensor in state.items() if name.endswith("embed_positions.weight")), None)
    if table is None:
        return {}
    for name, layout in layouts(*table.shape).items():
        if torch.allclose(table.float(), layout, atol=1e-3):
            return {"sinusoid": name}
    raise CheckpointError(
        "the file's table of positions (embed_positions) is no sinusoid of a known layout; expected that of "
        "PEGASUS or of UER-py."
    )


BART = Family(
    name="bart",
    model_types=("bart",),
    prefix="model.",
    rows=BART_ROWS,
    sizes=(
        Size("hidden_size", "d_model", 1024),
        Size("emb_size", "d_model", 1024),
        Size("feedforward_size", "encoder_ffn_dim", 4096),
        Size("heads_num", "encoder_attention_heads", 16),
        Size("layers_num", "encoder_layers", 12),
        Size("hidden_act", "activation_function", "gelu"),
        Size("dropout", "dropout", 0.1),
        Size("max_seq_length", "max_position_embeddings", 1024),
    ),
    fixed={
        "embedding": ("word", "pos"),
        "tgt_embedding": ("word", "pos"),
        "encoder": "transformer",
        "decoder": "transformer",
        "mask": "fully_visible",
        "layernorm_positioning": "post",
        "layernorm_eps": 1e-5,
        "share_embedding": True,
        "has_lmtarget_bias": True,
        "target": ("lm",),
    },
    written={"is_encoder_decoder": True},
    required={
        "scale_embedding": (False,),
        "normalize_before": (False, None),
        "add_final_layer_norm": (False, None),
        "is_encoder_decoder": (True,),
    },
    read=read,
    write=write,
    shared="model.shared.weight",
    classes={"": "BartModel", "lm": "BartForConditionalGeneration"},
)
PEGASUS = replace(
    BART,
    name="pegasus",
    model_types=("pegasus",),
    rows=PEGASUS_ROWS,
    fixed={
        **BART.fixed,
        "embedding": ("word", "sinusoidalpos"),
        "tgt_embedding": ("word", "sinusoidalpos"),
        "remove_embedding_layernorm": True,
        "layernorm_positioning": "pre",
        "sinusoid": "pegasus",
        "pooling": "mean",  # no token stands in front of a text
    },
    written={"is_encoder_decoder": True, "scale_embedding": True},
    required={
        "scale_embedding": (True,),
        "normalize_before": (True, None),
        "add_final_layer_norm": (True, None),
        "static_position_embeddings": (True, None),
        "is_encoder_decoder": (True,),
    },
    sniff=sniff,
    tables=tables,
    ignored={r"(?:model\.)?(?:en|de)coder\.embed_positions\.weight": "sines and cosines, computed here"},
    classes={"": "PegasusModel", "lm": "PegasusForConditionalGeneration"},
)
