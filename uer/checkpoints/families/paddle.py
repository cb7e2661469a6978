"""The families under PaddleNLP's names: the rows of Hugging Face's, renamed; linear weights are [in, out].

`RENAMED` is the whole difference, from the names that Hugging Face and PaddleNLP agree upon (its
`_get_name_mappings`) and the modules of those families of which it lists none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from uer.checkpoints.families.albert import FAMILY as ALBERT
from uer.checkpoints.families.bert import FAMILY as BERT
from uer.checkpoints.families.bert import FIXED, SIZES
from uer.checkpoints.families.distilbert import FAMILY as DISTILBERT
from uer.checkpoints.families.electra import FAMILY as ELECTRA
from uer.checkpoints.families.ernie import ERNIE, ERNIE_M
from uer.checkpoints.families.family import Family, Size
from uer.checkpoints.families.roberta import ROBERTA
from uer.checkpoints.families.rows import Row, Rows, linear, row

LAYER, PADDLE_LAYER = "encoder.layer.{}.", "encoder.layers.{}."
RENAMED = {
    f"{LAYER}attention.self.query": f"{PADDLE_LAYER}self_attn.q_proj",
    f"{LAYER}attention.self.key": f"{PADDLE_LAYER}self_attn.k_proj",
    f"{LAYER}attention.self.value": f"{PADDLE_LAYER}self_attn.v_proj",
    f"{LAYER}attention.output.dense": f"{PADDLE_LAYER}self_attn.out_proj",
    f"{LAYER}attention.output.LayerNorm": f"{PADDLE_LAYER}norm1",
    f"{LAYER}intermediate.dense": f"{PADDLE_LAYER}linear1",
    f"{LAYER}output.dense": f"{PADDLE_LAYER}linear2",
    f"{LAYER}output.LayerNorm": f"{PADDLE_LAYER}norm2",
    "transformer.layer.{}.attention.q_lin": f"{PADDLE_LAYER}self_attn.q_proj",
    "transformer.layer.{}.attention.k_lin": f"{PADDLE_LAYER}self_attn.k_proj",
    "transformer.layer.{}.attention.v_lin": f"{PADDLE_LAYER}self_attn.v_proj",
    "transformer.layer.{}.attention.out_lin": f"{PADDLE_LAYER}self_attn.out_proj",
    "transformer.layer.{}.sa_layer_norm": f"{PADDLE_LAYER}norm1",
    "transformer.layer.{}.ffn.lin": f"{PADDLE_LAYER}linear",
    "transformer.layer.{}.output_layer_norm": f"{PADDLE_LAYER}norm2",
    "cls.predictions.transform.dense": "cls.predictions.transform",
    "cls.predictions.transform.LayerNorm": "cls.predictions.layer_norm",
    "cls.predictions.bias": "cls.predictions.decoder_bias",
    "generator_lm_head.bias": "generator_lm_head_bias",
    "LayerNorm": "layer_norm",
    "qa_outputs": "classifier",
}
# Linear layers of ours; the output layer over the vocabulary has the shape of the embedding there too.
LINEAR = re.compile(
    r"(?:linear_layers\.\d|final_linear|linear_[12]|encoder\.linear|output_layer(?:_\w+)?|target\.mts\.linear)"
    r"\.weight$"
)
OUTPUT = "target.mlm.linear_2.weight"
VOCABULARY_TRANSPOSED = ("vocab_projector", "generator_lm_head")


def _paddle_row(entry: Row, body: tuple[str, str] | None, renamed: Mapping[str, str]) -> Row:
    def rename(name: str) -> str:
        """Our table's name of a tensor under Paddle's names."""
        for old, new in renamed.items():
            name = name.replace(old, new)
        if body is not None and name.startswith(body[0]):
            name = body[1] + name.removeprefix(body[0])
        return name

    turned = LINEAR.search(entry.ours[0]) and (
        entry.ours[0] != OUTPUT or entry.theirs.startswith(VOCABULARY_TRANSPOSED)
    )
    also = () if entry.theirs == "cls.predictions.decoder.bias" else tuple(map(rename, entry.also))
    if entry.ours[0] == OUTPUT and entry.theirs == "cls.predictions.decoder.weight":
        also = ("cls.predictions.decoder_weight",)
    operation = "transpose" if turned and entry.operation == "copy" else entry.operation
    return replace(entry, theirs=rename(entry.theirs), operation=operation, also=also)


def _paddle(
    family: Family,
    *,
    prefix: str | None = None,
    renamed: Mapping[str, str] = RENAMED,
    more: Rows = (),
    **changes: Any,
) -> Family:
    """A family under PaddleNLP's names.

    Args:
        prefix: what the body is called there, if otherwise.
        more: rows that only PaddleNLP has, in its names, with weights as [out, in].
        changes: of further attributes.
    """
    body = None if prefix is None else (family.prefix, prefix)
    rows = tuple(_paddle_row(entry, body, renamed) for entry in family.rows)
    rows += tuple(_paddle_row(entry, None, {}) for entry in more)
    changes.setdefault("parts", {})
    pretraining = {
        cls.replace("PreTraining", "Pretraining"): parts for cls, parts in _classes(family).items()
    }
    return replace(
        family,
        **{
            "name": f"paddle-{family.name}",
            "model_types": (f"paddle-{family.name}",),
            "prefix": prefix or family.prefix,
            "rows": rows,
            "written": {**family.written, "paddlenlp_version": "2"},
            **changes,
            "parts": {**family.parts, **pretraining, **changes["parts"]},
        },
    )


def _classes(family: Family) -> dict[str, tuple[str, ...]]:
    return {cls: tuple(part.split()) for part, cls in family.classes.items()}


def _albert_names() -> dict[str, str]:
    return {old: new for old, new in RENAMED.items() if old != "qa_outputs"}


# ERNIE-Health (Wang et al. 2021): ELECTRA's discriminator with three heads.
HEALTH = (
    linear("target.rtd.linear_1", "discriminator_rtd.dense", part="health")
    + linear("target.rtd.linear_2", "discriminator_rtd.dense_prediction", part="health")
    + linear("target.mts.linear", "discriminator_mts", part="health")
    + row("target.mts.bias.weight", "bias_mts.weight", part="health")
    + linear("target.csp.linear_1", "discriminator_csp.dense", part="health")
    + linear("target.csp.linear_2", "discriminator_csp.out_proj", part="health")
)
FIT = {r"(?:tinybert\.)?fit_dense(?:s\.\d+)?\.(?:weight|bias)": "widens states for the loss of distillation"}


def _read_tinybert(values: Mapping[str, Any]) -> dict[str, Any]:
    """Its classifier alone has two activations, one over the other."""
    chooses = str((values.get("architectures") or [""])[0]).endswith("MultipleChoice")
    return {**BERT.read(values), "head_act": "tanh" if chooses else "tanh_relu"}


PADDLE_BERT = _paddle(BERT)
PADDLE_ERNIE = _paddle(ERNIE)
PADDLE_ERNIE_M = _paddle(ERNIE_M, renamed={**RENAMED, ".self_attn.self_attn.": ".self_attn."})
PADDLE_ALBERT = _paddle(ALBERT, prefix="transformer.", renamed=_albert_names())
PADDLE_DISTILBERT = _paddle(
    DISTILBERT,
    sizes=(
        *SIZES,
        Size("emb_size", "hidden_size", 768),
        Size("max_seq_length", "max_position_embeddings", 512),
    ),
)
PADDLE_ELECTRA = _paddle(
    ELECTRA,
    renamed={**RENAMED, "sequence_summary.summary": "sequence_summary.dense"},
    more=HEALTH,
    parts={
        "ElectraDiscriminator": ("rtd",),
        "ElectraGenerator": ("mlm",),
        "ErnieHealthDiscriminator": ("health",),
    },
)
# HFL's weights, whose positions begin at row 0.
PADDLE_ROBERTA = _paddle(
    replace(
        ROBERTA,
        rows=tuple(
            replace(
                entry,
                operation={"offset_2": "copy", "one_segment": "segments"}.get(
                    entry.operation, entry.operation
                ),
            )
            for entry in ROBERTA.rows
        ),
        sizes=BERT.sizes,
        written={"pad_token_id": 0},
        required={**ROBERTA.required, "pad_token_id": (0,)},
        read=BERT.read,
        write=BERT.write,
    )
)
PADDLE_TINYBERT = replace(
    _paddle(BERT, prefix="tinybert.", parts={"TinyBertModel": (), "TinyBertForPretraining": ()}),
    name="paddle-tinybert",
    model_types=("paddle-tinybert",),
    ignored={**BERT.ignored, **FIT},
    read=_read_tinybert,
    classes={
        part: name.replace("Bert", "TinyBert")
        for part, name in BERT.classes.items()
        if part in ("", "cls", "qa", "choice")
    },
)
# Families whose epsilon no configuration names.
EPSILON = {
    "fixed": {**FIXED, "layernorm_eps": 1e-5},
    "sizes": tuple(size for size in BERT.sizes if size.ours != "layernorm_eps"),
}
# ERNIE-Gram (Xiao et al. 2021), as PaddleNLP computes it.
PADDLE_ERNIE_GRAM = _paddle(
    BERT,
    prefix="ernie_gram.",
    name="paddle-ernie-gram",
    model_types=("paddle-ernie-gram",),
    ignored={
        **BERT.ignored,
        r"(?:ernie_gram\.)?embeddings\.rel_pos_embeddings\.weight": "relative positions, left unread",
    },
    classes={
        part: name.replace("Bert", "ErnieGram")
        for part, name in BERT.classes.items()
        if part in ("", "cls", "tok", "qa")
    },
    **EPSILON,
)
# SKEP (Tian et al. 2020): ERNIE with another epsilon; the variant of RoBERTa has no token types.
PADDLE_SKEP = replace(
    _paddle(BERT, prefix="skep.", **EPSILON),
    name="paddle-skep",
    model_types=("paddle-skep",),
    read=lambda values: {
        **BERT.read(values),
        "embedding": ("word", "pos", "seg") if values.get("type_vocab_size", 4) else ("word", "pos"),
    },
    write=lambda config: {"type_vocab_size": config.segments_num - 1 if config.has_segments else 0},
    ignored={
        **BERT.ignored,
        r"(?:gru|fc|crf|crf_loss|viterbi_decoder)\..*": "a tagger's, which is tuned anew",
    },
    parts={"SkepModel": (), "SkepCrfForTokenClassification": ()},
    classes={
        "": "SkepModel",
        "cls": "SkepForSequenceClassification",
        "tok": "SkepForTokenClassification",
    },
)
