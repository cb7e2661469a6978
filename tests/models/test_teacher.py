"""Learning from a teacher: TinyBERT's and TaCL's frozen numbers, and every loss re-derived in fp64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertModel

from uer.checkpoints import load_into, read_state
from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import to_ours
from uer.checkpoints.teacher import load_teacher, with_teacher, without_teacher
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.layers.layout import Layout
from uer.layers.masks import AttentionMask, hide
from uer.models.build import build_model
from uer.models.initialize import initialize
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
        if key not in ("generator", "generator_shares", "teacher", "stream_0", "stream_1")
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


SIZES = {
    "vocab_size": 31,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture
def berts(tmp_path) -> dict[str, BertForMaskedLM]:
    """A student of two layers and a teacher of four, as folders of Hugging Face."""
    models = {}
    for name, layers in (("student", 2), ("teacher", 4)):
        torch.manual_seed(layers)
        model = BertForMaskedLM(BertConfig(**SIZES, num_hidden_layers=layers))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        model.save_pretrained(tmp_path / name)
        models[name] = model.double().eval()
    return models


CONFIG = ModelConfig(
    emb_size=16,
    hidden_size=16,
    heads_num=2,
    feedforward_size=20,
    layers_num=2,
    max_seq_length=12,
    dropout=0.0,
    layernorm_eps=1e-12,
    tie_weights=True,
    target=("mlm", "soft", "cosine"),
)
SRC = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 9, 4, 3, 0, 0]])
SEG = (SRC > 0).long()
LABELS = torch.full_like(SRC, IGNORE).index_put((torch.tensor([0, 1]), torch.tensor([2, 2])), torch.tensor(7))


def built(tmp_path, config: ModelConfig) -> Model:
    config = with_teacher(config, tmp_path / "teacher")
    model = build_model(config, 31)
    load_into(model, tmp_path / "student", allow_new=(r"target\.",))
    load_teacher(model, tmp_path / "teacher")
    return model


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distilbert_in_fp64(berts, tmp_path, temperature):
    """Guesses with temperature and cosines of all real tokens, hidden ones or not; and their gradients."""
    model = built(tmp_path, CONFIG.replace(soft_temperature=temperature)).eval()
    assert model.teacher.config.layers_num == 4  # its folder says so
    terms = model({"src": SRC, "seg": SEG}, {"mlm": LABELS})
    real = SEG.bool()
    ours, theirs = (
        m(SRC, attention_mask=SEG, output_hidden_states=True) for m in (berts["student"], berts["teacher"])
    )
    p, q = ((out.logits[real] / temperature).log_softmax(-1) for out in (theirs, ours))
    soft = temperature**2 * (p.exp().detach() * (p.detach() - q)).sum()
    cosine = (1 - F.cosine_similarity(ours.hidden_states[-1][real], theirs.hidden_states[-1][real])).sum()
    mlm = F.cross_entropy(ours.logits.flatten(0, 1), LABELS.flatten(), reduction="sum")
    for name, wanted in (("mlm", mlm), ("soft", soft), ("cosine", cosine)):
        assert float(terms[name].loss_sum) == pytest.approx(float(wanted), rel=2e-5), name
    assert int(terms["soft"].count) == int(terms["cosine"].count) == 10
    agree = (ours.logits[real].argmax(-1) == theirs.logits[real].argmax(-1)).sum()
    assert int(terms["soft"].correct) == int(agree)
    for name, loss in (("soft", soft), ("cosine", cosine)):
        model.zero_grad(), berts["student"].zero_grad()
        terms[name].loss_sum.backward(retain_graph=True)
        loss.backward(retain_graph=True)
        pairs = [
            (model.embedding.word.embedding.weight, berts["student"].bert.embeddings.word_embeddings.weight)
        ]
        if name == "soft":
            head = berts["student"].cls.predictions
            pairs += [(model.target.mlm.linear_2.bias, head.bias)]
            pairs += [(model.target.mlm.linear_1.weight, head.transform.dense.weight)]
        for own, wanted in pairs:
            torch.testing.assert_close(own.grad, wanted.grad.float(), rtol=1e-4, atol=1e-5)


def test_a_teacher_is_never_trained_and_never_saved(berts, tmp_path):
    model = built(tmp_path, CONFIG.replace(target=("mlm", "soft", "states", "scores", "attention")))
    model.train()
    assert not model.teacher.training and model.encoder.training
    before = {name: x.clone() for name, x in model.teacher.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    terms = model({"src": SRC, "seg": SEG}, {"mlm": LABELS})
    sum(term.loss_sum for term in terms.values()).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name
    assert all(torch.equal(x, before[name]) for name, x in model.teacher.state_dict().items())
    saved = model.state_dict()
    assert not [name for name in saved if name.startswith("teacher.")]
    assert "target.states.linear.weight" in saved
    again = built(tmp_path, model.config)
    again.load_state_dict(saved)  # strict: nothing is missing
    assert torch.equal(again.encoder.transformer[0].feed_forward.linear_1.weight,
                       model.encoder.transformer[0].feed_forward.linear_1.weight)  # fmt: skip
    with pytest.raises(RuntimeError, match=r"target\.mlm"):
        again.load_state_dict({name: x for name, x in saved.items() if "mlm" not in name})
    kept = without_teacher(model.config)
    assert kept.target == ("mlm",) and kept.teacher is None and kept.partners == ()


def test_language_models_can_be_distilled():
    config = CONFIG.replace(
        target=("lm", "soft"), mask="causal", teacher={"target": ["lm"], "layers_num": 3}, tie_weights=False
    )
    model = build_model(config, 31)
    initialize(model)
    terms = model({"src": SRC, "seg": SEG}, {"lm": SRC})
    own, theirs = (
        m.target.lm.logits(m.encode({"src": SRC, "seg": SEG}).hidden).double()[SEG.bool()]
        for m in (model, model.teacher)
    )
    p, q = (logits.div(2).log_softmax(-1) for logits in (theirs, own))
    assert float(terms["soft"].loss_sum) == pytest.approx(float(4 * (p.exp() * (p - q)).sum()), rel=1e-3)


@pytest.mark.parametrize("mask", ["causal", "causal_with_prefix"])
def test_only_what_a_query_sees_is_compared(mask):
    """Keys that a query may not see change nothing."""
    config = CONFIG.replace(target=("scores", "attention"), mask=mask, teacher={"target": []})
    torch.manual_seed(0)
    model = build_model(config, 31)
    initialize(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.eval()
    src, seg = torch.randint(1, 31, (1, 6)), torch.tensor([[1, 1, 1, 2, 2, 2]])
    terms = model({"src": src, "seg": seg}, {})
    layers = [m.encode({"src": src, "seg": seg}, all_layers=True).layers for m in (model, model.teacher)]
    wanted = {"scores": 0.0, "attention": 0.0}
    for number in range(2):
        own, theirs = (
            m.encoder.scores([x.flatten(0, 1) for x in states], number, Layout.dense(1, 6))[0].double()
            for m, states in zip((model, model.teacher), layers)
        )
        for query in range(6):
            last = max(query, 2) if mask == "causal_with_prefix" else query
            a, b = own[:, query, : last + 1], theirs[:, query, : last + 1]
            wanted["scores"] += F.mse_loss(a, b)
            if number == 1:
                p, q = b.softmax(-1), a.softmax(-1)
                wanted["attention"] += (p * (p / q).log()).sum(-1).mean()
    for name, term in terms.items():
        assert float(term.loss_sum) == pytest.approx(float(wanted[name]), rel=1e-4), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": ("sp", "soft")}, "--target soft compares guesses of tokens; add the target mlm or lm"),
        (
            {"teacher": {"hidden_size": 8, "emb_size": 8}},
            "hidden_size is 16 and the teacher's 8; --target cosine",
        ),
        (
            {"target": ("states",), "teacher": {"layers_num": 3}},
            "the teacher has 3 layers, no multiple of the",
        ),
        (
            {"target": ("states",), "teacher_layers": (1, 5)},
            "--teacher_layers is 1 5; give 2 numbers, one for each layer of the model, from 1 to 4",
        ),
        ({"target": ("scores",), "teacher_layers": (1,)}, "--teacher_layers is 1; give 2 numbers"),
        ({"target": ("scores",), "teacher": {"heads_num": 4}}, "heads_num is 2 and the teacher's 4"),
        ({"target": ("attention",), "mask": "causal"}, "--mask is causal and the teacher's fully_visible"),
        ({"target": ("states",), "has_residual_attention": True}, "compares the layers of transformers"),
    ],
)
def test_what_does_not_fit_is_refused(berts, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        config = with_teacher(CONFIG.replace(**changes), tmp_path / "teacher")
        build_model(config, 31)


def test_a_path_is_needed_and_only_then(berts, tmp_path):
    with pytest.raises(
        ConfigError, match="--target soft cosine learns from a teacher; name its weights with"
    ):
        with_teacher(CONFIG, None)
    with pytest.raises(ConfigError, match="--teacher_path has no meaning for --target mlm; leave it out"):
        with_teacher(CONFIG.replace(target=("mlm",)), tmp_path / "teacher")
    assert with_teacher(CONFIG.replace(target=("mlm",)), None).teacher is None
    model = build_model(with_teacher(CONFIG, tmp_path / "teacher"), 32)
    with pytest.raises(CheckpointError, match="the vocabulary has 32 tokens and the file 31"):
        load_teacher(model, tmp_path / "teacher")
    with pytest.raises(CheckpointError, match="--teacher_path"):
        read_state(tmp_path / "nothing.bin", "--teacher_path")


def test_a_teacher_of_few_positions_says_so(berts, tmp_path):
    model = built(tmp_path, CONFIG.replace(teacher={"max_seq_length": 12}))
    model.embedding.pos.embedding = torch.nn.Embedding(20, 16)
    src = torch.ones(1, 15, dtype=torch.long)
    with pytest.raises(ConfigError, match="a sequence of 15 tokens meets a model of 12 positions"):
        model({"src": src, "seg": src}, {"mlm": src})
