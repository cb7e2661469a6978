"""DistilBERT (Sanh et al. 2019): BERT without token types and pooler; its heads use ReLU."""

from __future__ import annotations

from uer.checkpoints.families.bert import FIXED
from uer.checkpoints.families.family import Family, Size
from uer.checkpoints.families.rows import linear, norm, row

OURS, THEIRS = "encoder.transformer.{}.", "distilbert.transformer.layer.{}."
ROWS = (
    row("embedding.word.embedding.weight", "distilbert.embeddings.word_embeddings.weight")
    + row("embedding.pos.embedding.weight", "distilbert.embeddings.position_embeddings.weight")
    + norm("embedding.layer_norm", "distilbert.embeddings.LayerNorm")
    + linear(f"{OURS}self_attn.linear_layers.0", f"{THEIRS}attention.q_lin")
    + linear(f"{OURS}self_attn.linear_layers.1", f"{THEIRS}attention.k_lin")
    + linear(f"{OURS}self_attn.linear_layers.2", f"{THEIRS}attention.v_lin")
    + linear(f"{OURS}self_attn.final_linear", f"{THEIRS}attention.out_lin")
    + norm(f"{OURS}layer_norm_1", f"{THEIRS}sa_layer_norm")
    + linear(f"{OURS}feed_forward.linear_1", f"{THEIRS}ffn.lin1")
    + linear(f"{OURS}feed_forward.linear_2", f"{THEIRS}ffn.lin2")
    + norm(f"{OURS}layer_norm_2", f"{THEIRS}output_layer_norm")
    + linear("target.mlm.linear_1", "vocab_transform", part="mlm")
    + norm("target.mlm.layer_norm", "vocab_layer_norm", part="mlm")
    + row("target.mlm.linear_2.weight", "vocab_projector.weight", part="mlm")
    + row("target.mlm.linear_2.bias", "vocab_projector.bias", part="mlm")
    + linear("output_layer_1", "pre_classifier", part="cls")
    + linear("output_layer_2", "classifier", part="cls")
    + linear("output_layer", "classifier", part="tok")
    + linear("output_layer", "qa_outputs", part="qa")
    + linear("output_layer_1", "pre_classifier", part="choice")
    + linear("output_layer", "classifier", part="choice")
)

FAMILY = Family(
    name="distilbert",
    model_types=("distilbert",),
    prefix="distilbert.",
    rows=ROWS,
    sizes=(
        Size("hidden_size", "dim", 768),
        Size("emb_size", "dim", 768),
        Size("feedforward_size", "hidden_dim", 3072),
        Size("heads_num", "n_heads", 12),
        Size("layers_num", "n_layers", 6),
        Size("hidden_act", "activation", "gelu"),
        Size("dropout", "dropout", 0.1),
        Size("max_seq_length", "max_position_embeddings", 512),
    ),
    fixed={**FIXED, "embedding": ("word", "pos"), "target": ("mlm",), "layernorm_eps": 1e-12},
    head_act="relu",
    ignored={r"(?:distilbert\.)?embeddings\.position_ids": "numbers from 0 on"},
    classes={
        "": "DistilBertModel",
        "mlm": "DistilBertForMaskedLM",
        "cls": "DistilBertForSequenceClassification",
        "tok": "DistilBertForTokenClassification",
        "qa": "DistilBertForQuestionAnswering",
        "choice": "DistilBertForMultipleChoice",
    },
)
