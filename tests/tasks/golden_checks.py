"""Golden cases of tasks, for whole folders of them (`tests/models/golden_checks.py`): heads and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from tests.models.golden import furthest, load_case, loaded
from uer.metrics import AnswerMatch, Confusion, Correlation, GroupRanking, Metric, SetMatch, SpanF1
from uer.metrics.classification import label_scores
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
    known = {name: check for name, check in METRICS.items() if name in tensors and "keys" not in meta}
    return next(iter(known.values()), None)


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


def confusion(path: Path, folder: Path) -> dict[str, float]:
    """The matrix, the ratios of each label, and the lines of the log."""
    meta, tensors = _read(path)
    metric = Confusion(meta["labels_num"])
    metric.update(tensors["in.logits"].numpy().argmax(axis=1), tensors["in.tgt"].numpy())
    ratios = zip("pr", label_scores(metric.matrix)), (("f1", label_scores(metric.matrix)[2]),)
    found = {name: _off(values, tensors[f"out.{name}"]) for pairs in ratios for name, values in pairs}
    found["counts"] = _off(metric.matrix, tensors["out.confusion"])
    return {**found, "acc": _off(metric.accuracy, tensors["out.acc"]), **_lines(metric, meta["lines"])}


def label_sets(path: Path, folder: Path) -> dict[str, float]:
    """The share of rows whose labels are all right."""
    meta, tensors = _read(path)
    metric = SetMatch([str(number) for number in range(meta["labels_num"])])
    metric.update(tensors["in.logits"].double().sigmoid().numpy(), tensors["in.tgt"].numpy())
    return {"acc": _off(metric.scores()["acc"], tensors["out.acc"]), **_lines(metric, meta["lines"])}


def tags(path: Path, folder: Path) -> dict[str, float]:
    """Spans where the tags are right: UER counts wrong ones otherwise, and by the size of its batches."""
    meta, tensors = _read(path)
    names = [*sorted(meta["label2id"], key=meta["label2id"].get), "[PAD]"]
    real = tensors["in.seg"].numpy() > 0
    rows, gold = np.nonzero(real)[0], tensors["in.gold"].numpy()[real]
    metric = SpanF1(names)
    metric.update(np.arange(len(gold)), rows, gold, gold)
    begun = [names[gold[start]][0] == "B" for start in metric.tags.spans(gold, rows)[:, 0]]
    scores, theirs = metric.scores(), "out.perfect.batch1"
    found = {key: _off(scores[name], tensors[f"{theirs}.{key}"]) for key, name in zip(("p", "r", "f1"), PRF)}
    found["spans"] = _off(sum(begun), tensors[f"{theirs}.gold_entities_num"])
    return {**found, **_lines(metric, meta["lines"]["perfect.batch1"])}


def correlations(path: Path, folder: Path) -> dict[str, float]:
    """Spearman's correlation of numbers and of cosines, and the cosines."""
    meta, tensors = _read(path)
    given = {"regression": tensors["in.pred"][:, 0], "simcse": tensors["out.simcse_cosine"]}
    said = {"regression": "Spearman corr: {:.4f}", "simcse": "Spearman's correlation: {:.4f}"}
    cosines = F.cosine_similarity(tensors["in.features_0"], tensors["in.features_1"])
    found = {"cosine": _off(cosines, tensors["out.simcse_cosine"])}
    for name, values in given.items():
        metric = Correlation(said[name])
        metric.update(values.numpy(), tensors["in.tgt"].numpy())
        found[name] = _off(metric.scores()["spearman"], tensors[f"out.{name}_spearman"])
        found[f"{name} line"] = _lines(metric, meta["lines"][name])["lines"]
    return found


METRICS: dict[str, Check] = {
    "out.confusion": confusion,
    "out.acc": label_sets,
    "out.perfect.batch1.f1": tags,
    "out.regression_spearman": correlations,
}
"""by a tensor that only such a case has, in this order"""
PRF = ("precision", "recall", "f1")


def _off(ours: Any, theirs: torch.Tensor) -> float:
    """The largest difference."""
    values = theirs.double().numpy()
    return float(np.abs(np.asarray(ours, np.float64).reshape(values.shape) - values).max())


def _lines(metric: Metric, theirs: Sequence[str]) -> dict[str, float]:
    """1 where the log does not end in UER's lines, whose figures of further scores may stand between."""
    ours = metric.report()
    return {"lines": float(not all(line in ours for line in theirs) or ours[-1] != theirs[-1])}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    return json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))
