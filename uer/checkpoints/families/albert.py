"""ALBERT (Lan et al. 2020): a narrow embedding, one layer for all depths, sentence order."""

from __future__ import annotations

from uer.checkpoints.families.bert import (
    FIXED,
    POSITION_IDS,
    REQUIRED,
    SIZES,
    embeddings,
    output_bias,
    pooler,
    read_segments,
    simple_heads,
    write_segments,
)
from uer.checkpoints.families.family import Family, Size
from uer.checkpoints.families.rows import linear, norm, row

OURS, THEIRS = "encoder.transformer.", "albert.encoder.albert_layer_groups.0.albert_layers.0."
ROWS = (
    embeddings("albert.")
    + linear("encoder.linear", "albert.encoder.embedding_hidden_mapping_in")
    + linear(f"{OURS}self_attn.linear_layers.0", f"{THEIRS}attention.query")
    + linear(f"{OURS}self_attn.linear_layers.1", f"{THEIRS}attention.key")
    + linear(f"{OURS}self_attn.linear_layers.2", f"{THEIRS}attention.value")
    + linear(f"{OURS}self_attn.final_linear", f"{THEIRS}attention.dense")
    + norm(f"{OURS}layer_norm_1", f"{THEIRS}attention.LayerNorm")
    + linear(f"{OURS}feed_forward.linear_1", f"{THEIRS}ffn")
    + linear(f"{OURS}feed_forward.linear_2", f"{THEIRS}ffn_output")
    + norm(f"{OURS}layer_norm_2", f"{THEIRS}full_layer_layer_norm")
    + pooler("albert.pooler")
    + linear("target.sp.linear_2", "sop_classifier.classifier", part="sp")
    + linear("target.mlm.linear_1", "predictions.dense", part="mlm")
    + norm("target.mlm.layer_norm", "predictions.LayerNorm", part="mlm")
    + row("target.mlm.linear_2.weight", "predictions.decoder.weight", part="mlm")
    + output_bias("predictions.bias", "predictions.decoder.bias")
    + simple_heads()
)

FAMILY = Family(
    name="albert",
    model_types=("albert",),
    prefix="albert.",
    rows=ROWS,
    sizes=(
        *SIZES,
        Size("emb_size", "embedding_size", 128),
        Size("max_seq_length", "max_position_embeddings", 512),
    ),
    fixed={**FIXED, "factorized_embedding_parameterization": True, "parameter_sharing": True},
    written={"num_hidden_groups": 1, "inner_group_num": 1},
    required={**REQUIRED, "num_hidden_groups": (1,), "inner_group_num": (1,)},
    read=read_segments,
    write=write_segments,
    ignored=POSITION_IDS,
    pooled=frozenset({"cls", "choice"}),
    classes={
        "": "AlbertModel",
        "mlm": "AlbertForMaskedLM",
        "mlm sp": "AlbertForPreTraining",
        "cls": "AlbertForSequenceClassification",
        "tok": "AlbertForTokenClassification",
        "qa": "AlbertForQuestionAnswering",
        "choice": "AlbertForMultipleChoice",
    },
)
