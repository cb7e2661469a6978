"""RoBERTa (Liu et al. 2019) and XLM-R (Conneau et al. 2020).

Their positions begin in the row behind the id of padding, which is row 2 in all that were released, and count
real tokens only, which is how our rows from 0 are counted anyway.
They have one token type, which serves both texts.
"""

from __future__ import annotations

from dataclasses import replace

from uer.checkpoints.families.bert import FAMILY as BERT
from uer.checkpoints.families.bert import FIXED, SIZES, embeddings, layers, output_bias, read_segments
from uer.checkpoints.families.family import Size
from uer.checkpoints.families.rows import linear, norm, row

ROWS = (
    embeddings("roberta.", offset=True, segments="one_segment")
    + layers("roberta.")
    + linear("target.mlm.linear_1", "lm_head.dense", part="mlm")
    + norm("target.mlm.layer_norm", "lm_head.layer_norm", part="mlm")
    + row("target.mlm.linear_2.weight", "lm_head.decoder.weight", part="mlm")
    + output_bias("lm_head.bias", "lm_head.decoder.bias")
    + linear("output_layer_1", "classifier.dense", part="cls")
    + linear("output_layer_2", "classifier.out_proj", part="cls")
    + linear("output_layer", "classifier", part="tok")
    + linear("output_layer", "qa_outputs", part="qa")
    + linear("target.sp.linear_1", "roberta.pooler.dense", part="pooler")
    + linear("output_layer", "classifier", part="choice")
)

ROBERTA = replace(
    BERT,
    name="roberta",
    model_types=("roberta",),
    prefix="roberta.",
    rows=ROWS,
    sizes=(*SIZES, Size("emb_size", "hidden_size", 768)),
    fixed={**FIXED, "target": ("mlm",)},
    written={"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    read=lambda values: {
        **read_segments(values),
        "max_seq_length": values.get("max_position_embeddings", 514) - values.get("pad_token_id", 1) - 1,
    },
    write=lambda config: {"max_position_embeddings": config.max_seq_length + 2},
    pooled=frozenset({"choice"}),
    from_pad=True,
    classes={
        "": "RobertaModel",
        "mlm": "RobertaForMaskedLM",
        "cls": "RobertaForSequenceClassification",
        "tok": "RobertaForTokenClassification",
        "qa": "RobertaForQuestionAnswering",
        "choice": "RobertaForMultipleChoice",
    },
)
XLM_ROBERTA = replace(
    ROBERTA,
    name="xlm-roberta",
    model_types=("xlm-roberta",),
    classes={part: name.replace("Roberta", "XLMRoberta") for part, name in ROBERTA.classes.items()},
)
