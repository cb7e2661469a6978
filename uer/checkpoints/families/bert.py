"""BERT (Devlin et al. 2019); also the base of sentence-BERT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uer.checkpoints.families.family import Family, Size
from uer.checkpoints.families.rows import Rows, linear, norm, row
from uer.config.model import ModelConfig

SIZES = (
    Size("hidden_size", "hidden_size", 768),
    Size("feedforward_size", "intermediate_size", 3072),
    Size("heads_num", "num_attention_heads", 12),
    Size("layers_num", "num_hidden_layers", 12),
    Size("hidden_act", "hidden_act", "gelu"),
    Size("dropout", "hidden_dropout_prob", 0.1),
    Size("layernorm_eps", "layer_norm_eps", 1e-12),
)
FIXED = {
    "embedding": ("word", "pos", "seg"),
    "encoder": "transformer",
    "mask": "fully_visible",
    "layernorm_positioning": "post",
    "target": ("mlm", "sp"),
}
REQUIRED = {
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
}
POSITION_IDS = {r"(?:.*\.)?embeddings\.(?:position_ids|token_type_ids)$": "numbers from 0 on"}


def read_segments(values: Mapping[str, Any]) -> dict[str, int]:
    """Rows of our segment table: theirs and one for padding; a single type serves both texts."""
    return {"segments_num": max(values.get("type_vocab_size") or 2, 2) + 1}


def write_segments(config: ModelConfig) -> dict[str, int]:
    """Their number of token types."""
    return {"type_vocab_size": config.segments_num - 1}


def embeddings(prefix: str, *, offset: bool = False, segments: str | None = "segments") -> Rows:
    """The embedding: positions that begin at row 2 when `offset`, token types unless `segments` is None."""
    rows = row("embedding.word.embedding.weight", f"{prefix}embeddings.word_embeddings.weight")
    rows += row(
        "embedding.pos.embedding.weight",
        f"{prefix}embeddings.position_embeddings.weight",
        "offset_2" if offset else "copy",
    )
    if segments:
        rows += row(
            "embedding.seg.embedding.weight",
            f"{prefix}embeddings.token_type_embeddings.weight",
            segments,
            when="has_segments",
        )
    return rows + norm("embedding.layer_norm", f"{prefix}embeddings.LayerNorm")


def layers(prefix: str) -> Rows:
    """The layers, named alike in BERT, RoBERTa and ELECTRA."""
    ours, theirs = "encoder.transformer.{}.", f"{prefix}encoder.layer.{{}}."
    return (
        linear(f"{ours}self_attn.linear_layers.0", f"{theirs}attention.self.query")
        + linear(f"{ours}self_attn.linear_layers.1", f"{theirs}attention.self.key")
        + linear(f"{ours}self_attn.linear_layers.2", f"{theirs}attention.self.value")
        + linear(f"{ours}self_attn.final_linear", f"{theirs}attention.output.dense")
        + norm(f"{ours}layer_norm_1", f"{theirs}attention.output.LayerNorm")
        + linear(f"{ours}feed_forward.linear_1", f"{theirs}intermediate.dense")
        + linear(f"{ours}feed_forward.linear_2", f"{theirs}output.dense")
        + norm(f"{ours}layer_norm_2", f"{theirs}output.LayerNorm")
    )


def pooler(theirs: str) -> Rows:
    """The dense layer on the first token: of sentence prediction, or of a downstream head."""
    return linear("target.sp.linear_1", theirs, part="pooler")


def simple_heads(classifier: str = "classifier") -> Rows:
    """Token classification and question answering (one layer each), and the last layers of the pooled
    heads.
    """
    return (
        linear("output_layer_2", classifier, part="cls")
        + linear("output_layer", "classifier", part="tok")
        + linear("output_layer", "qa_outputs", part="qa")
        + linear("output_layer", "classifier", part="choice")
    )


def output_bias(*names: str) -> Rows:
    """The bias of the MLM output, which newer files have twice; the last one counts where they differ."""
    return tuple(entry for name in names for entry in row("target.mlm.linear_2.bias", name, part="mlm"))


ROWS = (
    embeddings("bert.")
    + layers("bert.")
    + pooler("bert.pooler.dense")
    + linear("target.sp.linear_2", "cls.seq_relationship", part="sp")
    + linear("target.mlm.linear_1", "cls.predictions.transform.dense", part="mlm")
    + norm("target.mlm.layer_norm", "cls.predictions.transform.LayerNorm", part="mlm")
    + row("target.mlm.linear_2.weight", "cls.predictions.decoder.weight", part="mlm")
    + output_bias("cls.predictions.bias", "cls.predictions.decoder.bias")
    + simple_heads()
)

FAMILY = Family(
    name="bert",
    model_types=("bert",),
    prefix="bert.",
    rows=ROWS,
    sizes=(
        *SIZES,
        Size("emb_size", "hidden_size", 768),
        Size("max_seq_length", "max_position_embeddings", 512),
    ),
    fixed=FIXED,
    required=REQUIRED,
    read=read_segments,
    write=write_segments,
    ignored=POSITION_IDS,
    pooled=frozenset({"cls", "choice"}),
    classes={
        "": "BertModel",
        "mlm": "BertForMaskedLM",
        "mlm sp": "BertForPreTraining",
        "sp": "BertForNextSentencePrediction",
        "cls": "BertForSequenceClassification",
        "tok": "BertForTokenClassification",
        "qa": "BertForQuestionAnswering",
        "choice": "BertForMultipleChoice",
    },
)
