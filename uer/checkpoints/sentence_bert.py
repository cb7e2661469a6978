"""Sentence-BERT (Reimers and Gurevych 2019) on its way to the layout of sentence-transformers: one model for
both texts, and a module that says how its hidden states become one vector.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from uer.checkpoints.folder import MODULES, POOLINGS
from uer.checkpoints.io import State
from uer.checkpoints.names import CONFIG
from uer.checkpoints.report import listed
from uer.config.model import ModelConfig
from uer.errors import CheckpointError

STREAM = re.compile(r"(embedding|encoder)\.(?:dual\.)?(?:embedding|encoder)_([01])\.(.*)")
SECOND_NORM = re.compile(r"\.stream_[01]_layer_norm\.")
PACKAGE = "sentence_transformers.models"


def stream_of(state: Mapping[str, Tensor], number: int) -> State:
    """One stream of a dual model as a model of its own."""
    matches = {name: STREAM.match(name) for name in state}
    return {
        f"{match.group(1)}.{match.group(3)}": state[name]
        for name, match in matches.items()
        if match is not None and match.group(2) == str(number)
    }


def one_stream(state: Mapping[str, Tensor], config: ModelConfig) -> tuple[State, ModelConfig]:
    """The model that both streams of a dual one are.

    Raises:
        CheckpointError: the streams differ, or norm their embeddings a second time.
    """
    first, second = stream_of(state, 0), stream_of(state, 1)
    differing = [name for name in first if name in second and not torch.equal(first[name], second[name])]
    if differing or first.keys() != second.keys():
        raise CheckpointError(
            f"the two streams differ ({listed(differing, 3) or 'in their parts'}), and a sentence-BERT has "
            "one model for both texts; train with --tie_weights to export it."
        )
    again = [name for name in state if SECOND_NORM.search(name)]
    if again:
        raise CheckpointError(
            f"the model norms its embeddings a second time ({listed(again, 2)}), which no sentence-BERT does."
        )
    return first, config.stream(0).replace(pooling=config.pooling)


def write_modules(folder: Path, pooling: str, width: int, length: int) -> None:
    """What makes the folder of a model that of a sentence-BERT: its parts, and how it pools."""
    modes = {mode: kind == pooling for mode, kind in POOLINGS.items()}
    parts = (("Transformer", ""), ("Pooling", "1_Pooling"))
    (folder / "1_Pooling").mkdir()
    for name, values in (
        (f"1_Pooling/{CONFIG}", {"word_embedding_dimension": width, **modes}),
        ("sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False}),
        (
            MODULES,
            [
                {"idx": number, "name": str(number), "path": path, "type": f"{PACKAGE}.{kind}"}
                for number, (kind, path) in enumerate(parts)
            ],
        ),
    ):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
