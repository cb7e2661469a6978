"""Whole models against UER-py's own numbers, all vintages: embedding, hidden states, losses, counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.golden import GOLDEN, Case, furthest, load_case, loaded
from uer.config.model import RECURRENT
from uer.layers.layout import Layout
from uer.models.build import build_model
from uer.models.model import Model
from uer.targets.term import IGNORE

CASES = sorted(
    path.with_suffix("") for era in ("2024", "2021") for path in (GOLDEN / f"uer-{era}").glob("*.json")
)
TOLERANCE = 1e-5


def labels_of(case: Case) -> dict[str, Tensor]:
    """UER's labels with -100 where UER does not count: id 0, or padding for the language model of 2024."""
    given = {k.removeprefix("in.tgt").removeprefix("_"): v for k, v in case.tensors.items() if "in.tgt" in k}
    if "sp" in given:
        return {"mlm": ignoring(given[""], given[""] > 0), "sp": given["sp"]}
    if "forward" in given:
        return {f"bilm_{way}": ignoring(given[way], given[way] > 0) for way in ("forward", "backward")}
    (target,) = case.config().target
    if target == "lm" and case.era == "2024":
        return {"lm": ignoring(given[""], given.get("seg", case.tensors["in.seg"]) > 0)}
    return {target: given[""] if target == "cls" else ignoring(given[""], given[""] > 0)}


def ignoring(labels: Tensor, counted: Tensor) -> Tensor:
    return labels.masked_fill(~counted, IGNORE)


def inputs_of(case: Case) -> dict[str, Tensor]:
    names = {"src": "src", "seg": "seg", "tgt_in": "tgt_in", "tgt_seg": "tgt_seg"}
    return {
        ours: case.tensors[f"in.{theirs}"] for ours, theirs in names.items() if f"in.{theirs}" in case.tensors
    }


def info(case: Case) -> dict[str, tuple[float, int, int | None]]:
    """What UER returned: term → mean loss, number correct, number counted."""
    out = [float(case.tensors[f"out.info.{i}"]) for i in range(5) if f"out.info.{i}" in case.tensors]
    terms = list(labels_of(case))
    if len(terms) == 1:
        return {terms[0]: (out[0], int(out[1]), int(out[2]) if len(out) > 2 else None)}
    if case.era == "2021":
        return {terms[0]: (out[0], int(out[2]), int(out[4])), terms[1]: (out[1], int(out[3]), None)}
    return {terms[0]: (out[0], int(out[1]), int(out[2])), terms[1]: (out[3], int(out[4]), None)}


def differences(case: Case, model: Model) -> dict[str, float]:
    """The largest difference of every number that UER gave."""
    inputs, labels = inputs_of(case), labels_of(case)
    real = inputs["seg"] > 0
    layout: Layout | str = "auto"
    if model.config.encoder in RECURRENT:
        layout = Layout.dense(*inputs["src"].shape)  # UER's recurrences read padding; see RecurrentEncoder
    found = {}
    with torch.no_grad():
        embedded = model.embedding(model.source(inputs, None).streams)
        found["embedding"] = furthest(embedded, case.tensors["out.embedding"], real)
        out = model.encode(inputs, layout=layout).hidden
        out = layout.unpack(out) if isinstance(layout, Layout) else out
        found["encoder"] = furthest(out, case.tensors["out.encoder"], real)
        if "out.decoder" in case.tensors:
            out = model.decode(inputs, out, inputs["seg"]).hidden
            found["decoder"] = furthest(out, case.tensors["out.decoder"], inputs["tgt_seg"] > 0)
        terms = model(inputs, labels, layout=layout)
    for name, (loss, correct, count) in info(case).items():
        ours = terms[name]
        found[f"{name} loss"] = abs(float(ours.loss_sum / ours.count) - loss)
        found[f"{name} correct"] = abs(int(ours.correct) - correct)
        if count is not None:
            found[f"{name} count"] = abs(int(ours.count) - count)
    return found


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_numbers_are_those_of_uer(path: Path, tmp_path: Path) -> None:
    case = load_case(path)
    model = loaded(lambda config: build_model(config, case.meta["vocab_size"]), case, tmp_path)
    found = differences(case, model)
    assert all(difference <= TOLERANCE for difference in found.values()), found
