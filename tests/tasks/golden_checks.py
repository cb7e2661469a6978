"""Golden cases of tasks, for whole folders of them (`tests/models/golden_checks.py`): heads and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.models.golden import furthest, load_case, loaded
from uer.metrics import AnswerMatch, GroupRanking
from uer.tasks.body import task_body
from uer.tasks.choice import ChoiceModel
from uer.tasks.extractive_qa import QaModel

Check = Callable[[Path, Path], dict[str, float]]
ROUNDED = 1e-3  # of ChID: UER adds -10000 to all scores, which rounds them


def checker(meta: Mapping[str, Any]) -> Check | None:
    """The check of a case of a task, or None when it is another's."""
    tensors = meta.get("tensors", {})
    if "out.start_logits" in tensors and "keys" in meta:
        return questions
    if meta.get("class") == "MultipleChoice":
        return choices
    if "pairs" in meta and "predictions" in meta:
        return answers
    if "reciprocal_ranks" in meta and "in.plain.qid" in tensors:
        return ranks
    return None


@torch.no_grad()
def questions(path: Path, folder: Path) -> dict[str, float]:
    """Logits of starts and ends, and the loss, over padding too as in UER."""
    case = load_case(path.with_suffix(""))
    model = loaded(lambda config: QaModel(task_body(config, case.meta["vocab_size"])), case, folder)
    src = case["in.src"]
    inputs = {"src": src, "seg": case["in.seg"], "pos": torch.arange(src.shape[1]).expand(src.shape)}
    logits = model.logits(inputs, layout=None)
    labels = {name: case[f"in.{name}_position"] for name in ("start", "end")}
    term = model(inputs, labels, layout=None)["qa"]
    return {
        "start": furthest(logits[..., 0], case["out.start_logits"]),
        "end": furthest(logits[..., 1], case["out.end_logits"]),
        "loss": furthest(term.loss_sum / term.count, case["out.loss"][0]),
    }


@torch.no_grad()
def choices(path: Path, folder: Path) -> dict[str, float]:
    """Logits of choices, and the loss."""
    case = load_case(path.with_suffix(""))
    model = loaded(lambda config: ChoiceModel(task_body(config, case.meta["vocab_size"])), case, folder)
    src = case["in.src"]
    inputs = {"src": src, "seg": case["in.seg"], "choice": torch.ones(src.shape[:2], dtype=torch.int64)}
    exact = case.tensors.get("out.logits_nothing_masked")
    loss = model(inputs, {"choice": case["in.tgt"]})["choice"]
    off = furthest(loss.loss_sum / loss.count, case["out.loss"][0])
    return {
        "logits": furthest(model.logits(inputs), case["out.logits"] if exact is None else exact),
        "loss": off if exact is None else max(0.0, off - ROUNDED),
    }


def answers(path: Path, folder: Path) -> dict[str, float]:
    """F1 and exact match of texts, and of UER's own predictions."""
    meta, tensors = _read(path)
    match = partial(AnswerMatch, "uer")
    found = {"pairs": 0.0}
    for pair in meta["pairs"]:
        metric = match()
        metric.update(pair["prediction"], pair["answers"])
        found["pairs"] = max(found["pairs"], abs(metric.f1 - pair["f1"]), abs(metric.exact - pair["em"]))
    gold = {
        question["id"]: [answer["text"] for answer in question["answers"]]
        for document in meta["squad"]["data"]
        for paragraph in document["paragraphs"]
        for question in paragraph["qas"]
    }
    metric = match()
    for prediction in meta["predictions"]:
        metric.update(prediction["text"], gold[prediction["id"]])
    scores = metric.scores()
    return {**found, **{name: abs(scores[name] - float(tensors[f"out.{name}"][0])) for name in scores}}


def ranks(path: Path, folder: Path) -> dict[str, float]:
    """The mean reciprocal rank where no scores are equal; UER counts ties several times."""
    _, tensors = _read(path)
    qid, label, logits = (tensors[f"in.plain.{name}"].numpy() for name in ("qid", "label", "logits"))
    metric = GroupRanking()
    metric.update(range(len(qid)), qid, logits[:, 1], label == 1)
    return {"mrr": abs(metric.scores()["mrr"] - float(tensors["out.plain.mrr"][0]))}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    return json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))
