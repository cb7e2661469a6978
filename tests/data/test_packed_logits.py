"""Documents packed into one row do not see each other: changing one leaves the others alone, to the bit."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from uer.config.model import ModelConfig
from uer.data.pretrain_data import objective_of
from uer.models.build import build_model
from uer.models.initialize import initialize

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "emb_size": 32,
    "hidden_size": 32,
    "feedforward_size": 64,
    "heads_num": 4,
    "layers_num": 2,
    "dropout": 0.0,
}


def model_of(family, **more):
    values = json.loads((ROOT / "models" / family).read_text())
    torch.manual_seed(0)
    model = build_model(ModelConfig.pick({**values, **SIZES, **more}), 5025)
    initialize(model)
    return model.eval()


def tensors(batch):
    return {name: torch.from_numpy(values) for name, values in batch.inputs.items()}


def hidden_by_document(model, batch):
    """The last hidden states of each document, in order."""
    with torch.no_grad():
        inputs = tensors(batch)
        output = model.encode(inputs)
    layout_rows = inputs["seg"] > 0
    flat = output.hidden if output.hidden.dim() == 2 else output.hidden[layout_rows]
    doc, row = inputs["doc"][layout_rows], layout_rows.nonzero()[:, 0]
    keys = (row * 1000 + doc).tolist()
    borders = [0, *[i for i in range(1, len(keys)) if keys[i] != keys[i - 1]], len(keys)]
    return [flat[a:b] for a, b in pairwise(borders)]


@pytest.mark.parametrize(
    ("processor", "family", "more"),
    [
        ("lm", "gpt2/config.json", {}),
        ("mlm", "bert/base_config.json", {}),
        ("cls", "bert/base_config.json", {"target": ["cls"], "labels_num": 2}),
    ],
)
def test_documents_are_blind_to_each_other(make, processor, family, more):
    label = "1\t" if processor == "cls" else ""
    texts = ["10 11 12 13 14 15", "20 21 22", "30 31 32 33 34"]
    flags = {"packing": True, "seq_length": 64, **({"dynamic_masking": True} if processor == "mlm" else {})}
    model = model_of(family, **more)

    def states(texts, name):
        store = make("\n".join(label + text for text in texts), processor, name=name, **flags)
        assert len(store) == 1
        objective = objective_of(store)
        batch = objective.batch(store, np.arange(1), np.random.default_rng(0))
        if processor == "mlm":  # the same tokens, unmasked, so that runs can be compared
            batch.inputs["src"] = np.where(batch.labels["mlm"] >= 0, batch.labels["mlm"], batch.inputs["src"])
        return hidden_by_document(model, batch)

    whole = states(texts, "whole.pt")
    changed = states([texts[0].replace("12", "99"), *texts[1:]], "changed.pt")
    assert not torch.equal(whole[0], changed[0])
    assert torch.equal(whole[1], changed[1]) and torch.equal(whole[2], changed[2])
    alone = states(texts[1:2], "alone.pt")
    torch.testing.assert_close(whole[1], alone[0], atol=1e-5, rtol=1e-5)
