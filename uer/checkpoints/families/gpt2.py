"""GPT-2 (Radford et al. 2019). Its linear layers are stored as [in, out], query, key and value in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uer.checkpoints.families.family import Family, Size
from uer.checkpoints.families.rows import linear, norm, row

OURS, THEIRS = "encoder.transformer.{}.", "transformer.h.{}."
QKV = tuple(f"{OURS}self_attn.linear_layers.{number}" for number in range(3))
ROWS = (
    row("embedding.word.embedding.weight", "transformer.wte.weight")
    + row("embedding.pos.embedding.weight", "transformer.wpe.weight")
    + norm(f"{OURS}layer_norm_1", f"{THEIRS}ln_1")
    + row(tuple(f"{name}.weight" for name in QKV), f"{THEIRS}attn.c_attn.weight", "split_transposed")
    + row(tuple(f"{name}.bias" for name in QKV), f"{THEIRS}attn.c_attn.bias", "split")
    + linear(f"{OURS}self_attn.final_linear", f"{THEIRS}attn.c_proj", "transpose")
    + norm(f"{OURS}layer_norm_2", f"{THEIRS}ln_2")
    + linear(f"{OURS}feed_forward.linear_1", f"{THEIRS}mlp.c_fc", "transpose")
    + linear(f"{OURS}feed_forward.linear_2", f"{THEIRS}mlp.c_proj", "transpose")
    + norm("encoder.layer_norm", "transformer.ln_f")
    + row("target.lm.output_layer.weight", "lm_head.weight", part="lm")
    + row("output_layer_2.weight", "score.weight", part="cls")
    + linear("output_layer", "classifier", part="tok")
    + linear("output_layer", "qa_outputs", part="qa")
)


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inner width, four times the outer one unless named; attention may go unscaled."""
    return {
        "feedforward_size": values.get("n_inner") or 4 * values.get("n_embd", 768),
        "remove_attention_scale": not values.get("scale_attn_weights", True),
    }


FAMILY = Family(
    name="gpt2",
    model_types=("gpt2",),
    prefix="transformer.",
    rows=ROWS,
    sizes=(
        Size("hidden_size", "n_embd", 768),
        Size("emb_size", "n_embd", 768),
        Size("heads_num", "n_head", 12),
        Size("layers_num", "n_layer", 12),
        Size("hidden_act", "activation_function", "gelu_new"),
        Size("dropout", "resid_pdrop", 0.1),
        Size("layernorm_eps", "layer_norm_epsilon", 1e-5),
        Size("max_seq_length", "n_positions", 1024),
    ),
    fixed={
        "embedding": ("word", "pos"),
        "remove_embedding_layernorm": True,
        "encoder": "transformer",
        "mask": "causal",
        "layernorm_positioning": "pre",
        "target": ("lm",),
        "pooling": "last",  # the only token that has seen all others
        "head_bias": False,
    },
    head_act="none",
    required={
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    read=read,
    write=lambda config: {
        "n_inner": config.feedforward_size,
        "n_ctx": config.max_seq_length,
        "scale_attn_weights": not config.remove_attention_scale,
    },
    ignored={r"(?:transformer\.)?h\.\d+\.attn\.(?:bias|masked_bias)": "the causal mask"},
    classes={
        "": "GPT2Model",
        "lm": "GPT2LMHeadModel",
        "cls": "GPT2ForSequenceClassification",
        "tok": "GPT2ForTokenClassification",
        "qa": "GPT2ForQuestionAnswering",
    },
)
