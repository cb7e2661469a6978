"""Learning from a teacher: TinyBERT's and TaCL's frozen numbers, TinyBERT's losses re-derived in fp64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel

from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import to_ours
from uer.config.model import ModelConfig
from uer.layers.layout import Layout
from uer.layers.masks import AttentionMask, hide
from uer.models.build import build_model
from uer.models.model import Model
from uer.targets.contrast import ContrastTarget
from uer.targets.distillation import ScoresTarget
from uer.targets.term import IGNORE

GOLDEN = Path(__file__).parents[1] / "golden" / "distillation"


TAUGHT = ("soft", "cosine", "states", "scores", "attention", "contrast")


def described(values: dict) -> dict:
    return {**values, "model_type": "bert", "architectures": ["BertModel"]}


def part(tensors: dict[str, Tensor], prefix: str, values: dict, cls: str) -> tuple[dict, ModelConfig]:
    """Tensors of one model of a case under our names, and its configuration."""
    family = pick_family("bert")
    values = {**described(values), "architectures": [cls]}
    config = family.model_config(values, "case")
    own = {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
    ours, _, _ = to_ours(family, own, config, family.parts_of(values))
    heads = cls != "BertModel"  # its pooler is half of a head
    return {name: x for name, x in ours.items() if heads or not name.startswith("target")}, config


def case(name: str) -> tuple[dict[str, Tensor], dict]:
    path = GOLDEN / name
    meta = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return load_file(path.with_suffix(".safetensors")), meta["config"]


@pytest.fixture
def tinybert() -> tuple[Model, dict[str, Tensor]]:
    tensors, values = case("F28_tinybert_losses")
    student, config = part(tensors, "state.student.", values["student"], "BertModel")
    teacher, theirs = part(tensors, "state.teacher.", values["teacher"], "BertModel")
    settings = {
        key: value
        for key, value in theirs.to_dict().items()
        if key not in ("generator", "generator_shares", "teacher", "students", "stream_0", "stream_1")
    }
    config = config.replace(
        target=("states", "scores", "attention"), teacher={**settings, "target": []}, dropout=0.0
    )
    model = build_model(config, 97)
    model.embedding.load_state_dict(cut(student, "embedding."))
    model.encoder.load_state_dict(cut(student, "encoder."))
    model.teacher.embedding.load_state_dict(cut(teacher, "embedding."))
    model.teacher.encoder.load_state_dict(cut(teacher, "encoder."))
    linear = model.target.states.linear
    linear.load_state_dict(cut(tensors, "state.student.fit_dense."))
    return model.eval(), tensors


def cut(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}


def inputs_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    seg = tensors["in.attention_mask"] * (1 + tensors["in.token_type_ids"])
    return {"src": tensors["in.input_ids"], "seg": seg}


def test_tinybert_gives_the_frozen_losses(tinybert):
    """The frozen means count padding too; so the states are taken from the case, padding included."""
    model, tensors = tinybert
    own = [tensors[f"out.student.hidden.{n}"] for n in range(3)]
    theirs = {n: tensors[f"out.teacher.hidden.{n}"] for n in (0, 2, 4)}
    losses = model.target.states.losses(own, theirs)
    for number, loss in enumerate(losses):
        assert float(loss.mean()) == pytest.approx(float(tensors[f"out.rep_loss.{number}"]), abs=2e-6)
    assert float(sum(loss.mean() for loss in losses)) == pytest.approx(
        float(tensors["out.rep_loss"]), rel=1e-5
    )
    real = tensors["in.attention_mask"].bool()
    mask = AttentionMask(hide(~real, torch.float32)[:, None, None, :])
    dense, teacher = Layout.dense(*real.shape), model.teacher.encoder
    seen = real[:, None, None, :].expand(2, 1, *real.shape[1:] * 2)
    assert model.target.scores.layers == (2, 4)
    for number in range(2):
        # The frozen case has the states behind every second layer of the teacher.
        between = teacher.transformer[2 * number](theirs[2 * number], mask=mask)[0].flatten(0, 1)
        wanted = teacher.scores([between] * 4, 2 * number + 1, dense)
        found = model.encoder.scores([x.flatten(0, 1) for x in own], number, dense)
        keys = seen.sum(dim=-1, keepdim=True) / real.shape[1]  # hidden keys count there, as no difference
        weighted = ((found - wanted).square().mean(dim=1, keepdim=True) * seen).sum(dim=-1) / real.shape[1]
        assert float(weighted.mean()) == pytest.approx(
            float(tensors[f"out.att_loss.{number}"]), rel=1e-5, abs=2e-6
        )
        loss = ScoresTarget.loss(found, wanted, seen)
        assert float(loss) == pytest.approx(float((weighted / keys.squeeze(-1)).sum()), rel=1e-5)


def reference(values: dict, tensors: dict[str, Tensor], prefix: str) -> BertModel:
    model = BertModel(BertConfig(**values, attn_implementation="eager"), add_pooling_layer=False).double()
    missing, _ = model.load_state_dict(cut(tensors, prefix), strict=False)
    assert not [name for name in missing if "position_ids" not in name and "token_type_ids" not in name]
    return model.eval()


def attention_scores(model: BertModel, states: Tensor, number: int, heads: int) -> Tensor:
    """q·kᵀ/√d [A, T, T] of one sequence, from the input of a layer."""
    layer = model.encoder.layer[number].attention.self
    q, k = (linear(states).unflatten(-1, (heads, -1)).transpose(0, 1) for linear in (layer.query, layer.key))
    return q @ k.transpose(1, 2) / q.shape[-1] ** 0.5


def test_states_scores_and_attention_in_fp64(tinybert):
    """Over real tokens only, rows of different length, from the inputs on."""
    model, tensors = tinybert
    _, values = case("F28_tinybert_losses")
    student = reference(values["student"], tensors, "state.student.")
    teacher = reference(values["teacher"], tensors, "state.teacher.")
    weight = tensors["state.student.fit_dense.weight"].double()
    bias = tensors["state.student.fit_dense.bias"].double()
    wanted = {"states": 0.0, "scores": 0.0, "attention": 0.0}
    for row, length in enumerate(tensors["in.attention_mask"].sum(dim=1).tolist()):
        ids, kinds = (
            tensors[f"in.{name}"][row : row + 1, :length] for name in ("input_ids", "token_type_ids")
        )
        own, theirs = (
            [x[0] for x in m(ids, token_type_ids=kinds, output_hidden_states=True).hidden_states]
            for m in (student, teacher)
        )
        for number in range(3):
            wanted["states"] += F.mse_loss(own[number] @ weight.T + bias, theirs[2 * number]) * length
        for number in range(2):
            pair = (
                attention_scores(student, own[number], number, 4),
                attention_scores(teacher, theirs[2 * number + 1], 2 * number + 1, 4),
            )
            wanted["scores"] += F.mse_loss(*pair) * length
        p = attention_scores(teacher, theirs[3], 3, 4).softmax(-1)
        q = attention_scores(student, own[1], 1, 4).softmax(-1)
        wanted["attention"] += (p * (p / q).log()).sum() / 4
    terms = model(inputs_of(tensors), {})
    assert list(terms) == list(wanted)
    for name, term in terms.items():
        assert float(term.loss_sum) == pytest.approx(float(wanted[name]), rel=1e-5), name
        assert int(term.count) == int(tensors["in.attention_mask"].sum())


def test_a_layer_map_says_which_layers(tinybert):
    model, tensors = tinybert
    settings = model.config.replace(teacher_layers=(0, 3))
    other = build_model(settings, 97)
    other.load_state_dict(model.state_dict())
    other.teacher.load_state_dict(model.teacher.state_dict())
    assert other.target.states.layers == other.target.scores.layers == (0, 3)
    terms, before = other.eval()(inputs_of(tensors), {}), model(inputs_of(tensors), {})
    own, theirs = (m.encode(inputs_of(tensors), all_layers=True).layers for m in (model, model.teacher))
    real = tensors["in.attention_mask"].bool()
    expected = sum(
        F.mse_loss(model.target.states.linear(own[a][real]), theirs[b][real]) for a, b in ((0, 0), (2, 3))
    )
    assert float(terms["states"].loss_sum / terms["states"].count) == pytest.approx(float(expected), rel=1e-5)
    assert float(terms["scores"].loss_sum) != pytest.approx(float(before["scores"].loss_sum))


def test_tacl_gives_the_frozen_numbers():
    """The frozen softmax sees the states of padding too, so each row is compared over its real tokens."""
    tensors, values = case("F10_tacl")
    student, config = part(tensors, "state.student.", values, "BertForPreTraining")
    teacher, _ = part(tensors, "state.teacher.", values, "BertModel")
    config = config.replace(target=("mlm", "sp", "contrast"), teacher={"target": []}, dropout=0.0)
    model = build_model(config, 97)
    model.load_state_dict({**model.state_dict(), **student})
    model.teacher.load_state_dict(teacher)
    model.eval()
    inputs = inputs_of(tensors)
    hides = tensors["in.mlm_mask"].bool()
    assert torch.equal(hides, tensors["in.contrastive_labels"].bool())
    labels = {"mlm": torch.where(hides, tensors["in.truth_ids"], IGNORE), "sp": tensors["in.nsp_labels"]}
    assert torch.equal(torch.where(hides, labels["mlm"], inputs["src"]), tensors["in.truth_ids"])
    terms = model(inputs, labels)
    assert list(terms) == ["mlm", "sp", "contrast"]
    for name, frozen in (("mlm", "mlm"), ("sp", "nsp")):
        mean = float(terms[name].loss_sum / terms[name].count)
        assert mean == pytest.approx(float(tensors[f"out.{frozen}_loss"]), rel=1e-5)
    frozen, real = tensors["out.scores"], inputs["seg"] > 0
    found = ContrastTarget.logits(tensors["out.student.last_hidden"], tensors["out.teacher.last_hidden"])
    torch.testing.assert_close(found, frozen, rtol=0, atol=1e-3)
    over_all = F.cross_entropy(found[hides].double(), torch.arange(11).expand(2, 11)[hides], reduction="mean")
    assert float(over_all) == pytest.approx(float(tensors["out.contrastive_loss"]), rel=1e-5)
    seen = frozen.double().masked_fill(~real[:, None, :], float("-inf"))
    wanted = -seen.log_softmax(dim=-1).diagonal(dim1=1, dim2=2)[hides].sum()
    assert float(terms["contrast"].loss_sum) == pytest.approx(float(wanted), rel=1e-4)
    assert int(terms["contrast"].count) == int(hides.sum())
    best = (seen.argmax(dim=-1) == torch.arange(11))[hides].sum()
    assert int(terms["contrast"].correct) == int(best)
