"""Whose configuration is it? Names for what other toolkits and original releases write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Where a description of a model may lie in its folder, in the order in which it is looked for.
DESCRIPTIONS = ("config.json", "model_config.json", "bert_config.json", "albert_config.json")
# Beginning of a class of PaddleNLP → the family.
PADDLE = (
    ("ErnieM", "paddle-ernie-m"),
    ("UIEM", "paddle-ernie-m"),
    ("ErnieHealth", "paddle-electra"),
    ("ErnieGram", "paddle-ernie-gram"),
    ("Ernie", "paddle-ernie"),
    ("UIE", "paddle-ernie"),
    ("Skep", "paddle-skep"),
    ("TinyBert", "paddle-tinybert"),
    ("DistilBert", "paddle-distilbert"),
    ("Roberta", "paddle-roberta"),
    ("Electra", "paddle-electra"),
    ("Albert", "paddle-albert"),
    ("Bert", "paddle-bert"),
)


def described(values: Mapping[str, Any], tensorflow: bool = False) -> dict[str, Any] | None:
    """A configuration with the `model_type` that our tables know; None when it describes no model.

    PaddleNLP's name a class (`init_class`, with the settings in `init_args`, or `paddlenlp_version`).
    Configurations of original releases have BERT's fields and no type.

    Args:
        tensorflow: the weights beside it are a TensorFlow checkpoint.
    """
    if "init_class" in values or "paddlenlp_version" in values:
        return _paddle(values)
    if "model_type" in values:
        return dict(values)
    if not {"hidden_size", "num_hidden_layers"} <= set(values):
        return None
    if "embedding_size" in values:
        own = "albert-zh" if "num_hidden_groups" not in values else "tf-albert" if tensorflow else "albert"
        return {"model_type": own, **values}
    if tensorflow:
        return {"model_type": "tf-bert", **values}
    return {"model_type": "bert", "architectures": ["BertForPreTraining"], **values}


def _paddle(values: Mapping[str, Any]) -> dict[str, Any] | None:
    names = values.get("architectures") or [values.get("init_class", "")]
    own = dict(values)
    for argument in own.pop("init_args", ()):  # of the body that a head was built on
        if isinstance(argument, Mapping):
            own = {**argument, **own}
    if "num_classes" in own:
        own.setdefault("num_labels", own["num_classes"])
    kind = next((kind for start, kind in PADDLE if names[0].startswith(start)), own.get("model_type"))
    return {**own, "model_type": kind, "architectures": names}
