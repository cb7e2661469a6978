"""Which golden case is checked how, for whole folders of them (`benchmarks/parity.py --golden`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.golden import Case, furthest, load_case, loaded
from tests.models.test_golden import MOST_ROUNDING, TOLERANCE, differences, rounding_of_uer
from tests.tasks import golden_checks as task_checks
from tests.training import golden_checks as training_checks
from tests.training.golden_checks import apart
from uer.config.model import POOLINGS
from uer.generation.reading import CausalReader, PairReader
from uer.layers.layout import Layout
from uer.layers.pooling import pool
from uer.models.build import build_body, build_model
from uer.models.model import Model

Check = Callable[[Path, Path], dict[str, float]]


def checker(meta: Mapping[str, Any]) -> tuple[Check | None, str]:
    """The check of a case of UER-py, or None and why there is none."""
    if "info_order" in meta:
        return whole_model, ""
    of_task = task_checks.checker(meta)
    if of_task is not None:
        return of_task, ""
    of_training = training_checks.checker(meta)
    if of_training is not None:
        return of_training, ""
    tensors = meta.get("tensors", {})
    if "keys" not in meta:
        return None, "nothing that is known: no model, optimiser, schedule or metric"
    if "out.first_logits" in tensors:
        return written, ""
    if "out.first.features_0" in tensors and meta["config"].get("encoder") != "dual":
        return sentence_vectors, ""
    if "in.src_0" in tensors:
        return two_streams, ""
    if "out.decoder" in tensors:
        return sequence_to_sequence, ""
    if "in.src" in tensors and any(name in tensors for name in ("out.encoder", "out.hidden")):
        return encoder, ""
    if "in.pad.src" in tensors:
        return recurrence, ""
    if any(name.endswith("logits") for name in tensors):
        return head, ""
    return None, "nothing that is known"


def whole_model(path: Path, folder: Path) -> dict[str, float]:
    """A pre-training model: every hidden state, loss and count.

    T5's unscaled scores make its last states ill-conditioned; where UER's own rounding is larger than the
    tolerance, a difference counts relative to it.
    """
    case = load_case(path.with_suffix(""))
    model = loaded(lambda config: build_model(config, case.meta["vocab_size"]), case, folder)
    found = differences(case, model)
    return _excused(found, rounding_of_uer(case, model)) if max(found.values()) > TOLERANCE else found


def _excused(found: dict[str, float], rounding: Mapping[str, float]) -> dict[str, float]:
    """The differences less UER's own distance from the exact result (ours in fp64), where rounding can
    explain it.

    A larger distance means that we compute something else, which fp64 would repeat; it excuses nothing.
    """
    kept = {name: x if x <= MOST_ROUNDING else 0.0 for name, x in rounding.items()}
    return {name: max(0.0, x - kept.get(name, 0.0)) for name, x in found.items()}


def _body(path: Path, folder: Path) -> tuple[Case, Model]:
    case = load_case(path.with_suffix(""))
    return case, loaded(partial(build_body, vocab_size=case.meta["vocab_size"]), case, folder)


@torch.no_grad()
def encoder(path: Path, folder: Path) -> dict[str, float]:
    """The encoder of a downstream model."""
    case, model = _body(path, folder)
    seg = case["in.seg"].flatten(0, -2)
    hidden = model.encode({"src": case["in.src"].flatten(0, -2), "seg": seg}).hidden
    theirs = case.tensors.get("out.encoder", case.tensors.get("out.hidden")).flatten(0, -3)
    return {"encoder": furthest(hidden, theirs, seg > 0)}


@torch.no_grad()
def head(path: Path, folder: Path) -> dict[str, float]:
    """Encoder, pooling and head of a downstream model; in 2021 all poolings but the first read padding."""
    case, model = _body(path, folder)
    found, state = {}, case.state()
    for task in (
        [""]
        if "in.src" in case.tensors
        else sorted({name.split(".")[1] + "." for name in case.tensors if name.startswith("in.")})
    ):
        seg = case[f"in.{task}seg"].flatten(0, -2)
        hidden = model.encode({"src": case[f"in.{task}src"].flatten(0, -2), "seg": seg}).hidden
        for pooling in ("first",) if case.era == "2021" else POOLINGS:
            # ChID hides every position by -10000, which hides none but rounds the scores; then the clean ones
            # count.
            plain = case.tensors.get("out.logits_nothing_masked", case.tensors.get(f"out.{task}logits"))
            theirs = case.tensors.get(f"out.{task}{pooling}.logits", plain)
            if pooling == "first" or f"out.{task}{pooling}.logits" in case.tensors:
                logits = _logits(state, task, pool(pooling, hidden, seg))
                found[f"{task}{pooling}"] = furthest(logits.reshape(theirs.shape), theirs)
    return found


def _logits(state: Mapping[str, Tensor], task: str, vectors: Tensor) -> Tensor:
    """UER's heads: two layers, or one for multiple choice."""
    if "output_layer.weight" in state:
        return F.linear(vectors, state["output_layer.weight"], state["output_layer.bias"])
    names = [f"output_layers_{n}.{task}" if task else f"output_layer_{n}." for n in (1, 2)]
    first, second = ((state[f"{name}weight"], state[f"{name}bias"]) for name in names)
    return F.linear(torch.tanh(F.linear(vectors, *first)), *second)


@torch.no_grad()
def written(path: Path, folder: Path) -> dict[str, float]:
    """What is written with the likeliest token each time: the first logits, by how much the best one leads,
    and how many tokens are others.
    """
    case = load_case(path.with_suffix(""))
    model = loaded(lambda config: build_model(config, case.meta["vocab_size"]), case, folder)
    ids, pair = case["out.ids"][0].tolist(), "in.src" in case.tensors
    if pair:
        reader = PairReader(model, case["in.src"].tolist(), room=len(ids), pad_id=0, start_id=ids.pop(0))
    else:
        prompt = case["in.prompt"].tolist()
        reader = CausalReader(model, prompt, room=len(prompt[0]) + len(ids), pad_id=0)
    found, logits = {"tokens": 0.0, "margin": 0.0}, reader.start()
    found["logits"] = apart(logits[0], case["out.first_logits"])
    for token, margin in zip(ids, case["out.margin"]):
        best, second = logits[0].topk(2).values
        off = furthest(best - second, margin) / (1 + float(best.abs()))  # it is rounded as both are
        found["margin"] = max(found["margin"], off)
        found["tokens"] += float(int(logits[0].argmax()) != token)
        logits = reader.step(torch.tensor([token]))
    return found


@torch.no_grad()
def sentence_vectors(path: Path, folder: Path) -> dict[str, float]:
    """The vectors of both texts of a pair, with every pooling."""
    case, model = _body(path, folder)
    found = {}
    for number in (0, 1):
        seg = case[f"in.seg_{number}"]
        hidden = model.encode({"src": case[f"in.src_{number}"], "seg": seg}).hidden
        for pooling in POOLINGS:
            theirs = case[f"out.{pooling}.features_{number}"]
            found[f"{pooling} {number}"] = furthest(pool(pooling, hidden, seg), theirs)
    return found


@torch.no_grad()
def recurrence(path: Path, folder: Path) -> dict[str, float]:
    """A recurrent encoder, which in UER reads padding."""
    case, model = _body(path, folder)
    found = {}
    for width in ("pad", "full"):
        src, seg = case[f"in.{width}.src"], case[f"in.{width}.seg"]
        layout = Layout.dense(*src.shape)
        hidden = layout.unpack(model.encode({"src": src, "seg": seg}, layout=layout).hidden)
        found[width] = furthest(hidden, case[f"out.{width}.encoder"])
    return found


@torch.no_grad()
def two_streams(path: Path, folder: Path) -> dict[str, float]:
    """Both streams of a dual model; recurrent ones read padding."""
    case, model = _body(path, folder)
    inputs = {key: case[f"in.{key}"] for key in ("src_0", "seg_0", "src_1", "seg_1")}
    outputs = model.encode_pair(inputs)
    return {
        f"encoder_{number}": furthest(out.hidden, case[f"out.encoder_{number}"], inputs[f"seg_{number}"] > 0)
        for number, out in enumerate(outputs)
    }


@torch.no_grad()
def sequence_to_sequence(path: Path, folder: Path) -> dict[str, float]:
    """Encoder, decoder and logits; see `whole_model` for T5."""
    case = load_case(path.with_suffix(""))
    model = loaded(lambda config: build_model(config, case.meta["vocab_size"]), case, folder, target=("lm",))
    found = _sequence_to_sequence(case, model)
    return (
        found
        if max(found.values()) <= TOLERANCE
        else _excused(found, _sequence_to_sequence(case, model.double()))
    )


def _sequence_to_sequence(case: Case, model: Model) -> dict[str, float]:
    seg, tgt_seg = case["in.seg"], case["in.tgt_in"] > 0
    hidden = model.encode({"src": case["in.src"], "seg": seg}).hidden
    decoded = model.decode({"tgt_in": case["in.tgt_in"], "tgt_seg": tgt_seg.long()}, hidden, seg).hidden
    return {
        "encoder": furthest(hidden, case["out.encoder"], seg > 0),
        "decoder": furthest(decoded, case["out.decoder"], tgt_seg),
        "logits": furthest(model.target.lm.logits(decoded), case["out.logits"], tgt_seg),
    }
