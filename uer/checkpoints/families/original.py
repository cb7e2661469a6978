"""The original TensorFlow checkpoints of BERT (Devlin et al. 2019), ALBERT (Lan et al. 2020) and albert_zh,
which is brightmart's and not Google's ALBERT: word vectors alone are narrow, and widened without a bias.

Their dense layers are stored as [in, out]; the MLM output layer is always the word embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from uer.checkpoints.families.albert import FAMILY as ALBERT
from uer.checkpoints.families.bert import FAMILY as BERT
from uer.checkpoints.families.bert import read_segments
from uer.checkpoints.families.family import Family
from uer.checkpoints.families.rows import Rows, row


def _dense(ours: str, theirs: str, part: str = "body") -> Rows:
    return row(f"{ours}.weight", f"{theirs}/kernel", "transpose", part=part) + row(
        f"{ours}.bias", f"{theirs}/bias", part=part
    )


def _norm(ours: str, theirs: str, part: str = "body") -> Rows:
    return row(f"{ours}.gamma", f"{theirs}/gamma", part=part) + row(
        f"{ours}.beta", f"{theirs}/beta", part=part
    )


def _layer(ours: str, attention: str, norm_1: str, inner: str, outer: str, norm_2: str) -> Rows:
    return (
        _dense(f"{ours}.self_attn.linear_layers.0", f"{attention}/self/query")
        + _dense(f"{ours}.self_attn.linear_layers.1", f"{attention}/self/key")
        + _dense(f"{ours}.self_attn.linear_layers.2", f"{attention}/self/value")
        + _dense(f"{ours}.self_attn.final_linear", f"{attention}/output/dense")
        + _norm(f"{ours}.layer_norm_1", norm_1)
        + _dense(f"{ours}.feed_forward.linear_1", inner)
        + _dense(f"{ours}.feed_forward.linear_2", outer)
        + _norm(f"{ours}.layer_norm_2", norm_2)
    )


COMMON = (
    row("embedding.word.embedding.weight", "bert/embeddings/word_embeddings")
    + row("embedding.pos.embedding.weight", "bert/embeddings/position_embeddings")
    + row("embedding.seg.embedding.weight", "bert/embeddings/token_type_embeddings", "segments")
    + _norm("embedding.layer_norm", "bert/embeddings/LayerNorm")
    + _dense("target.sp.linear_1", "bert/pooler/dense", part="sp")
    + row("target.sp.linear_2.weight", "cls/seq_relationship/output_weights", part="sp")
    + row("target.sp.linear_2.bias", "cls/seq_relationship/output_bias", part="sp")
    + _dense("target.mlm.linear_1", "cls/predictions/transform/dense", part="mlm")
    + _norm("target.mlm.layer_norm", "cls/predictions/transform/LayerNorm", part="mlm")
    + row("target.mlm.linear_2.bias", "cls/predictions/output_bias", part="mlm")
)
IN_LAYER = "bert/encoder/layer_{}"
GROUP = "bert/encoder/transformer/group_0/inner_group_0"
BERT_ROWS = COMMON + _layer(
    "encoder.transformer.{}",
    f"{IN_LAYER}/attention",
    f"{IN_LAYER}/attention/output/LayerNorm",
    f"{IN_LAYER}/intermediate/dense",
    f"{IN_LAYER}/output/dense",
    f"{IN_LAYER}/output/LayerNorm",
)
ALBERT_ROWS = (
    COMMON
    + _dense("encoder.linear", "bert/encoder/embedding_hidden_mapping_in")
    + _layer(
        "encoder.transformer",
        f"{GROUP}/attention_1",
        f"{GROUP}/LayerNorm",
        f"{GROUP}/ffn_1/intermediate/dense",
        f"{GROUP}/ffn_1/intermediate/output/dense",
        f"{GROUP}/LayerNorm_1",
    )
)
SHARED = "bert/encoder/layer_shared"
ALBERT_ZH_ROWS = (
    COMMON
    + row("embedding.word.projection.weight", "bert/embeddings/word_embeddings_2")
    + row("target.mlm.projection.weight", "bert/embeddings/word_embeddings_2", part="mlm")
    + _layer(
        "encoder.transformer",
        f"{SHARED}/attention",
        f"{SHARED}/attention/output/LayerNorm",
        f"{SHARED}/intermediate/dense",
        f"{SHARED}/output/dense",
        f"{SHARED}/output/LayerNorm",
    )
)


def _read_albert_zh(values: Mapping[str, Any]) -> dict[str, Any]:
    """`ln_type` says where the norms are; the code of its "gelu" computes the tanh form."""
    before = values.get("ln_type", "postln") == "preln"
    act = str(values.get("hidden_act", "gelu"))
    return {
        **read_segments(values),
        "layernorm_positioning": "pre" if before else "post",
        "remove_final_layernorm": before,
        "hidden_act": "gelu_fast" if act == "gelu" else act,
    }


def _original(family: Family, cls: str, rows: Rows) -> Family:
    """A family as checkpoints of TensorFlow have it: always with both heads of pre-training."""
    return replace(
        family,
        name=f"tf-{family.name}",
        model_types=(f"tf-{family.name}",),
        prefix="",
        rows=rows,
        pooled=frozenset(),
        parts={cls: ("mlm", "sp")},
    )


ORIGINAL_BERT = _original(BERT, "BertModel", BERT_ROWS)
ORIGINAL_ALBERT = _original(ALBERT, "AlbertModel", ALBERT_ROWS)
ALBERT_ZH = replace(
    ORIGINAL_ALBERT,
    name="albert-zh",
    model_types=("albert-zh",),
    rows=ALBERT_ZH_ROWS,
    sizes=tuple(size for size in ALBERT.sizes if size.ours != "hidden_act"),
    fixed={**ALBERT.fixed, "factorized_part": "word"},
    written={},
    required={"ln_type": ("postln", "preln"), "hidden_act": ("gelu", "relu", "tanh", "linear")},
    read=_read_albert_zh,
    write=lambda config: {
        "type_vocab_size": config.segments_num - 1,
        "ln_type": "preln" if config.layernorm_positioning == "pre" else "postln",
        "hidden_act": "gelu" if config.hidden_act == "gelu_fast" else config.hidden_act,
    },
)
