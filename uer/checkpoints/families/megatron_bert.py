"""Megatron-BERT (Shoeybi et al. 2019), as Erlangshen's 1.3 billion: BERT whose layers norm their input, and
whose embedding has no norm.
"""

from __future__ import annotations

from dataclasses import replace

from uer.checkpoints.families.bert import FAMILY as BERT
from uer.checkpoints.families.bert import FIXED
from uer.checkpoints.families.rows import Rows, norm

NORMS = {
    "attention.output.LayerNorm": "attention.ln",
    "output.LayerNorm": "ln",
}


def _rows() -> Rows:
    """BERT's rows with Megatron's norms: before attention and feed-forward, and at the end."""
    kept = [entry for entry in BERT.rows if not entry.ours[0].startswith("embedding.layer_norm")]
    rows = []
    for entry in kept:
        for old, new in NORMS.items():
            if entry.ours[0].startswith("encoder.transformer.{}.layer_norm") and f".{old}." in entry.theirs:
                entry = replace(entry, theirs=entry.theirs.replace(old, new), also=())
        rows.append(entry)
    return (*rows, *norm("encoder.layer_norm", "bert.encoder.ln"))


MEGATRON_BERT = replace(
    BERT,
    name="megatron-bert",
    model_types=("megatron-bert",),
    rows=_rows(),
    fixed={**FIXED, "layernorm_positioning": "pre", "remove_embedding_layernorm": True},
    classes={part: f"Megatron{name}" for part, name in BERT.classes.items()},
)
