"""ELECTRA (Clark et al. 2020), discriminator and generator: BERT whose embedding may have a width of its
own.
"""

from __future__ import annotations

from uer.checkpoints.families.bert import (
    FIXED,
    POSITION_IDS,
    REQUIRED,
    SIZES,
    embeddings,
    layers,
    read_segments,
    write_segments,
)
from uer.checkpoints.families.family import Family, Size
from uer.checkpoints.families.rows import linear, norm, row

ROWS = (
    embeddings("electra.")
    + linear("encoder.linear", "electra.embeddings_project", when="factorized_embedding_parameterization")
    + layers("electra.")
    + linear("target.mlm.linear_1", "generator_predictions.dense", part="mlm")
    + norm("target.mlm.layer_norm", "generator_predictions.LayerNorm", part="mlm")
    + row("target.mlm.linear_2.weight", "generator_lm_head.weight", part="mlm")
    + row("target.mlm.linear_2.bias", "generator_lm_head.bias", part="mlm")
    + linear("target.rtd.linear_1", "discriminator_predictions.dense", part="rtd")
    + linear("target.rtd.linear_2", "discriminator_predictions.dense_prediction", part="rtd")
    + linear("output_layer_1", "classifier.dense", part="cls")
    + linear("output_layer_2", "classifier.out_proj", part="cls")
    + linear("output_layer", "classifier", part="tok")
    + linear("output_layer", "qa_outputs", part="qa")
    + linear("output_layer_1", "sequence_summary.summary", part="choice")
    + linear("output_layer", "classifier", part="choice")
)

FAMILY = Family(
    name="electra",
    model_types=("electra",),
    prefix="electra.",
    rows=ROWS,
    sizes=(
        *SIZES,
        Size("emb_size", "embedding_size", 128),
        Size("max_seq_length", "max_position_embeddings", 512),
    ),
    fixed={**FIXED, "target": ("mlm",)},
    required={
        **REQUIRED,
        "summary_type": ("first", None),
        "summary_use_proj": (True, None),
        "summary_activation": ("gelu", None),
    },
    parts={"ElectraForPreTraining": ("rtd",)},
    read=lambda values: {
        **read_segments(values),
        "factorized_embedding_parameterization": values.get("embedding_size", 128)
        != values.get("hidden_size", 256),
    },
    write=write_segments,
    head_act="gelu",
    ignored=POSITION_IDS,
    classes={
        "": "ElectraModel",
        "mlm": "ElectraForMaskedLM",
        "rtd": "ElectraForPreTraining",
        "cls": "ElectraForSequenceClassification",
        "tok": "ElectraForTokenClassification",
        "qa": "ElectraForQuestionAnswering",
        "choice": "ElectraForMultipleChoice",
    },
)
