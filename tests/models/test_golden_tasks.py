"""Encoders, pooling and heads inside downstream models, against UER-py's own numbers."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.models.golden import GOLDEN, Case, furthest, load_case, loaded
from uer.config.model import POOLINGS
from uer.layers.layout import Layout
from uer.layers.pooling import pool
from uer.models.build import build_body, build_model
from uer.models.model import Model

FOLDER = GOLDEN / "uer-tasks"
TOLERANCE = 1e-5
RECURRENT_CASES = sorted(path.stem for path in FOLDER.glob("encoder_*.json"))
SIAMESE_CASES = sorted(path.stem for path in FOLDER.glob("siamese_*.json"))
TEXT2TEXT_CASES = sorted(path.stem for path in FOLDER.glob("text2text_*.json"))


def body(case: Case, folder: Path) -> Model:
    return loaded(partial(build_body, vocab_size=120), case, folder)


@pytest.mark.parametrize("name", RECURRENT_CASES)
@pytest.mark.parametrize("width", ["pad", "full"])
@torch.no_grad()
def test_recurrences_that_read_padding_like_uer(name: str, width: str, tmp_path: Path) -> None:
    case = load_case(FOLDER / name)
    src, seg = case[f"in.{width}.src"], case[f"in.{width}.seg"]
    layout = Layout.dense(*src.shape)
    hidden = layout.unpack(body(case, tmp_path).encode({"src": src, "seg": seg}, layout=layout).hidden)
    assert furthest(hidden, case[f"out.{width}.encoder"]) <= TOLERANCE
    for pooling in POOLINGS:
        pooled = pool(pooling, hidden, seg)
        assert furthest(pooled, case[f"out.{width}.{pooling}.pooled"]) <= TOLERANCE, pooling


@pytest.mark.parametrize("name", RECURRENT_CASES)
@torch.no_grad()
def test_recurrences_over_rows_without_padding(name: str, tmp_path: Path) -> None:
    case = load_case(FOLDER / name)
    hidden = body(case, tmp_path).encode({"src": case["in.full.src"], "seg": case["in.full.seg"]}).hidden
    assert furthest(hidden, case["out.full.encoder"]) <= TOLERANCE


@torch.no_grad()
def test_poolings_of_a_classifier(tmp_path: Path) -> None:
    case = load_case(FOLDER / "classifier")
    model = body(case, tmp_path)
    out = model.encode({"src": case["in.src"], "seg": case["in.seg"]}).hidden
    assert furthest(out, case["out.encoder"], case["in.seg"] > 0) <= TOLERANCE
    for pooling in POOLINGS:
        assert furthest(pool(pooling, out, case["in.seg"]), case[f"out.{pooling}.pooled"]) <= TOLERANCE
    seg = case["in.pair.seg"]
    out = model.encode({"src": case["in.pair.src"], "seg": seg}).hidden
    assert furthest(out, case["out.pair.encoder"], seg > 0) <= TOLERANCE
    # UER weighs the second text twice; ours is the mean over both.
    assert furthest(pool("mean", out, seg), case["out.pair.mean.pooled"]) > 1e-3


@pytest.mark.parametrize("name", SIAMESE_CASES)
@torch.no_grad()
def test_both_streams_of_a_dual_model(name: str, tmp_path: Path) -> None:
    case = load_case(FOLDER / name)
    model = body(case, tmp_path)
    inputs = {key: case[f"in.{key}"] for key in ("src_0", "seg_0", "src_1", "seg_1")}
    outputs = model.encode_pair(inputs)
    for number, out in enumerate(outputs):
        seg = inputs[f"seg_{number}"]
        streams = model.source({"src": inputs[f"src_{number}"], "seg": seg}, None).streams
        embedded = model.embedding.dual(number, streams)
        assert furthest(embedded, case[f"out.embedding_{number}"], seg > 0) <= TOLERANCE
        assert furthest(out.hidden, case[f"out.encoder_{number}"], seg > 0) <= TOLERANCE
        for pooling in POOLINGS:
            features = case[f"out.{pooling}.features"][:, number * 32 : (number + 1) * 32]
            if "2021" not in name or pooling in ("first", "mean"):
                assert furthest(pool(pooling, out.hidden, seg), features) <= TOLERANCE, pooling


def decoded(model: Model, inputs: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Decoder output and logits, computed in `dtype`."""
    model = copy.deepcopy(model).to(dtype)
    hidden = model.decode(inputs, model.encode(inputs).hidden, inputs["seg"]).hidden
    return {"decoder": hidden, "logits": model.target.lm.logits(hidden)}


@pytest.mark.parametrize("name", TEXT2TEXT_CASES)
@torch.no_grad()
def test_text_to_text(name: str, tmp_path: Path) -> None:
    case = load_case(FOLDER / name)
    model = loaded(lambda config: build_model(config, 120), case, tmp_path, target=("lm",))
    counted = case["in.tgt_seg"] > 0 if "in.tgt_seg" in case.tensors else case["in.tgt_out"] > 0
    real = case.tensors.get("in.tgt_seg", case["in.tgt_in"]) > 0
    inputs = {
        "src": case["in.src"],
        "seg": case["in.seg"],
        "tgt_in": case["in.tgt_in"],
        "tgt_seg": real.long(),
    }
    memory = model.encode(inputs).hidden
    assert furthest(memory, case["out.encoder"], case["in.seg"] > 0) <= TOLERANCE
    exact = decoded(model, inputs, torch.float64)
    for name, ours in decoded(model, inputs, torch.float32).items():
        theirs = case[f"out.{name}"]
        # T5's unscaled scores make these ill-conditioned: UER's own rounding error may pass 1e-5.
        allowed = max(TOLERANCE, furthest(exact[name], theirs, real))
        torch.testing.assert_close(ours[real], theirs[real], atol=allowed, rtol=1e-5)
    labels = case["in.tgt_out"].masked_fill(~counted, -100)
    term = model(inputs, {"lm": labels})["lm"]
    assert abs(float(term.loss_sum / term.count - case["out.loss"])) <= TOLERANCE


@pytest.mark.parametrize("name", ["prompt", "prompt_untied", "prompt_factorized"])
@torch.no_grad()
def test_the_mlm_head_of_a_prompt_model(name: str, tmp_path: Path) -> None:
    case = load_case(FOLDER / name)
    model = loaded(lambda config: build_model(config, 120), case, tmp_path, target=("mlm",))
    assert bool(model.tied_names()) == (name != "prompt_untied")
    hidden = model.encode({"src": case["in.src"], "seg": case["in.seg"]}).hidden
    assert furthest(hidden, case["out.encoder"], case["in.seg"] > 0) <= TOLERANCE
    asked = case["in.tgt"] > 0
    logits = model.target.mlm.logits(hidden[asked])
    masked = case["in.answer_position"] == 0
    theirs, ours = case["out.logits"], logits
    if furthest(ours, theirs) > TOLERANCE:  # UER gives them after masking what is no answer
        ours, theirs = ours[:, ~masked], theirs[:, ~masked]
    assert furthest(ours, theirs) <= TOLERANCE


@torch.no_grad()
def test_sentence_vectors(tmp_path: Path) -> None:
    case = load_case(FOLDER / "simcse")
    model = body(case, tmp_path)
    for pooling in POOLINGS:
        for number in (0, 1):
            src, seg = case[f"in.src_{number}"], case[f"in.seg_{number}"]
            vectors = pool(pooling, model.encode({"src": src, "seg": seg}).hidden, seg)
            assert furthest(vectors, case[f"out.{pooling}.features_{number}"]) <= TOLERANCE
