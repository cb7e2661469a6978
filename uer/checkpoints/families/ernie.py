"""ERNIE (Sun et al. 2019, 2020, 2021): BERT with more token types, and a table of tasks from 3.0 on; UIE's
pointers on top of it (Lu et al. 2022, as PaddleNLP ships it); ERNIE-M (Ouyang et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from uer.checkpoints.families.bert import FAMILY as BERT
from uer.checkpoints.families.bert import FIXED, SIZES, read_segments, simple_heads, write_segments
from uer.checkpoints.families.family import Size
from uer.checkpoints.families.rows import Rows, linear, norm, row
from uer.config.model import ModelConfig

TASKS = row(
    "embedding.task.embedding.weight", "ernie.embeddings.task_type_embeddings.weight", when="has_tasks"
)
POINTERS = linear("output_layer_start", "linear_start", part="pointer") + linear(
    "output_layer_end", "linear_end", part="pointer"
)


def _of_ernie(rows: Rows) -> Rows:
    """BERT's rows in a model whose body is called `ernie`."""
    return tuple(
        replace(entry, theirs=f"ernie.{entry.theirs.removeprefix('bert.')}")
        if entry.theirs.startswith("bert.")
        else entry
        for entry in rows
    )


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    tasks = ("task",) if values.get("use_task_id") else ()
    return {
        **read_segments(values),
        "embedding": ("word", "pos", "seg", *tasks),
        "tasks_num": values.get("task_type_vocab_size", 3),
    }


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        **write_segments(config),
        "use_task_id": config.has_tasks,
        "task_type_vocab_size": config.tasks_num,
    }


ERNIE = replace(
    BERT,
    name="ernie",
    model_types=("ernie",),
    prefix="ernie.",
    rows=_of_ernie(BERT.rows) + TASKS + POINTERS,
    sizes=(
        *SIZES,
        Size("emb_size", "hidden_size", 768),
        Size("max_seq_length", "max_position_embeddings", 513),
    ),
    read=_read,
    write=_write,
    parts={"UIE": ("pointer",), "ErnieForPretraining": ("mlm", "sp")},
    classes={part: name.replace("Bert", "Ernie") for part, name in BERT.classes.items()},
)


def _layers_m() -> Rows:
    ours, theirs = "encoder.transformer.{}.", "ernie_m.encoder.layers.{}."
    return (
        linear(f"{ours}self_attn.linear_layers.0", f"{theirs}self_attn.self_attn.q_proj")
        + linear(f"{ours}self_attn.linear_layers.1", f"{theirs}self_attn.self_attn.k_proj")
        + linear(f"{ours}self_attn.linear_layers.2", f"{theirs}self_attn.self_attn.v_proj")
        + linear(f"{ours}self_attn.final_linear", f"{theirs}self_attn.out_proj")
        + norm(f"{ours}layer_norm_1", f"{theirs}norm1")
        + linear(f"{ours}feed_forward.linear_1", f"{theirs}linear1")
        + linear(f"{ours}feed_forward.linear_2", f"{theirs}linear2")
        + norm(f"{ours}layer_norm_2", f"{theirs}norm2")
    )


# Its positions begin at row 2 of the table, and it has no token types.
ERNIE_M = replace(
    BERT,
    name="ernie-m",
    model_types=("ernie_m",),
    prefix="ernie_m.",
    rows=(
        row("embedding.word.embedding.weight", "ernie_m.embeddings.word_embeddings.weight")
        + row("embedding.pos.embedding.weight", "ernie_m.embeddings.position_embeddings.weight", "offset_2")
        + norm("embedding.layer_norm", "ernie_m.embeddings.layer_norm")
        + _layers_m()
        + linear("target.sp.linear_1", "ernie_m.pooler.dense", part="pooler")
        + simple_heads()
        + POINTERS
    ),
    sizes=(*SIZES, Size("emb_size", "hidden_size", 768)),
    fixed={**FIXED, "embedding": ("word", "pos"), "target": ("mlm",), "layernorm_eps": 1e-5},
    read=lambda values: {
        "max_seq_length": values.get("max_position_embeddings", 514) - 2,
        "layernorm_eps": values.get("layer_norm_eps", 1e-5),
    },
    write=lambda config: {"max_position_embeddings": config.max_seq_length + 2, "pad_token_id": 1},
    parts={"UIEM": ("pointer",), "ErnieMForInformationExtraction": ("pointer",)},
    classes={
        "": "ErnieMModel",
        "cls": "ErnieMForSequenceClassification",
        "tok": "ErnieMForTokenClassification",
        "qa": "ErnieMForQuestionAnswering",
        "choice": "ErnieMForMultipleChoice",
    },
)
