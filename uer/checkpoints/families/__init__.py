"""Families of Hugging Face models. The table maps `--family` names to their key maps, resolved on first
use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uer.errors import CheckpointError, pick
from uer.utils.lazy import load

if TYPE_CHECKING:
    from uer.checkpoints.families.family import Family

FAMILIES = {
    "bert": "uer.checkpoints.families.bert:FAMILY",
    "roberta": "uer.checkpoints.families.roberta:ROBERTA",
    "xlm-roberta": "uer.checkpoints.families.roberta:XLM_ROBERTA",
    "distilbert": "uer.checkpoints.families.distilbert:FAMILY",
    "electra": "uer.checkpoints.families.electra:FAMILY",
    "albert": "uer.checkpoints.families.albert:FAMILY",
    "ernie": "uer.checkpoints.families.ernie:ERNIE",
    "ernie-m": "uer.checkpoints.families.ernie:ERNIE_M",
    "megatron-bert": "uer.checkpoints.families.megatron_bert:MEGATRON_BERT",
    "gpt2": "uer.checkpoints.families.gpt2:FAMILY",
    "t5": "uer.checkpoints.families.t5:T5",
    "t5-v1_1": "uer.checkpoints.families.t5:T5_V1_1",
    "mt5": "uer.checkpoints.families.t5:MT5",
    "bart": "uer.checkpoints.families.bart:BART",
    "pegasus": "uer.checkpoints.families.bart:PEGASUS",
    "tf-bert": "uer.checkpoints.families.original:ORIGINAL_BERT",
    "tf-albert": "uer.checkpoints.families.original:ORIGINAL_ALBERT",
    "albert-zh": "uer.checkpoints.families.original:ALBERT_ZH",
    "paddle-bert": "uer.checkpoints.families.paddle:PADDLE_BERT",
    "paddle-ernie": "uer.checkpoints.families.paddle:PADDLE_ERNIE",
    "paddle-ernie-m": "uer.checkpoints.families.paddle:PADDLE_ERNIE_M",
    "paddle-albert": "uer.checkpoints.families.paddle:PADDLE_ALBERT",
    "paddle-distilbert": "uer.checkpoints.families.paddle:PADDLE_DISTILBERT",
    "paddle-electra": "uer.checkpoints.families.paddle:PADDLE_ELECTRA",
    "paddle-roberta": "uer.checkpoints.families.paddle:PADDLE_ROBERTA",
    "paddle-tinybert": "uer.checkpoints.families.paddle:PADDLE_TINYBERT",
    "paddle-skep": "uer.checkpoints.families.paddle:PADDLE_SKEP",
    "paddle-ernie-gram": "uer.checkpoints.families.paddle:PADDLE_ERNIE_GRAM",
}
# Families of other programs, which `transformers` does not load.
ELSEWHERE = ("paddle-", "tf-", "albert-zh")
MODEL_TYPES = {
    "bert": "bert",
    "roberta": "roberta",
    "xlm-roberta": "xlm-roberta",
    "distilbert": "distilbert",
    "electra": "electra",
    "albert": "albert",
    "ernie": "ernie",
    "ernie_m": "ernie-m",
    "megatron-bert": "megatron-bert",
    "gpt2": "gpt2",
    "t5": "t5",
    "mt5": "mt5",
    "bart": "bart",
    "pegasus": "pegasus",
    "tf-bert": "tf-bert",
    "tf-albert": "tf-albert",
    "albert-zh": "albert-zh",
    "paddle-bert": "paddle-bert",
    "paddle-ernie": "paddle-ernie",
    "paddle-ernie-m": "paddle-ernie-m",
    "paddle-albert": "paddle-albert",
    "paddle-distilbert": "paddle-distilbert",
    "paddle-electra": "paddle-electra",
    "paddle-roberta": "paddle-roberta",
    "paddle-tinybert": "paddle-tinybert",
    "paddle-skep": "paddle-skep",
    "paddle-ernie-gram": "paddle-ernie-gram",
}


def pick_family(name: str) -> Family:
    """The family called `name`; an unknown name is a `ConfigError`."""
    return load(pick(name, FAMILIES, "--family"))


def family_of(values: Mapping[str, Any], source: str) -> Family:
    """The family of a config.json.

    Raises:
        CheckpointError: no or an unknown `model_type`.
    """
    kind = values.get("model_type")
    if kind not in MODEL_TYPES:
        raise CheckpointError(
            f"{source}: the model_type is {kind!r}; supported are {', '.join(MODEL_TYPES)}."
        )
    gated = kind == "t5" and str(values.get("feed_forward_proj", "relu")).startswith("gated")
    return pick_family("t5-v1_1" if gated else MODEL_TYPES[kind])
