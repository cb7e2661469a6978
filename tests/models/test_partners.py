"""Models beside a model: ELECTRA's and ERNIE-Health's frozen losses, what is drawn, a still teacher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.models.zoo import SIZES, VOCAB, batch
from uer.checkpoints import load_into
from uer.checkpoints.families import pick_family
from uer.checkpoints.families.convert import to_ours
from uer.checkpoints.partners import load_generator
from uer.config.model import ModelConfig
from uer.errors import ConfigError
from uer.models import model as model_module
from uer.models.build import build_body, build_model
from uer.models.model import Model
from uer.targets import mlm
from uer.targets.term import IGNORE

GOLDEN = Path(__file__).parents[1] / "golden" / "zoo"
STREAM = {**SIZES, "embedding": ["word"], "encoder": "transformer"}
ELECTRA = {**SIZES, "target": ("rtd",), "tie_weights": True, "generator": {"layers_num": 1}}


def frozen(name: str, discriminator: str, targets: tuple[str, ...], **more: object) -> tuple[Model, dict]:
    """A model with the frozen weights of discriminator and generator, and all tensors of the case."""
    path = GOLDEN / name
    described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["config"]
    tensors, family = load_file(path.with_suffix(".safetensors")), pick_family("paddle-electra")
    state: dict[str, Tensor] = {}
    for role, cls, prefix in (
        ("discriminator.", discriminator, ""),
        ("generator.", "ElectraGenerator", "generator."),
    ):
        own = {
            key.removeprefix(f"state.{role}"): value
            for key, value in tensors.items()
            if key.startswith(f"state.{role}")
        }
        config = family.model_config({**described, "architectures": [cls]}, name)
        ours, left, _ = to_ours(family, own, config, family.parts_of({"architectures": [cls]}))
        assert not left
        state.update({prefix + key: value for key, value in ours.items()})
    words = state["generator.embedding.word.embedding.weight"]
    state["generator.target.mlm.linear_2.weight"] = words
    config = config.replace(target=targets, generator={}, dropout=0.0, **more)
    model = build_model(config, len(words))
    model.load_state_dict(state, strict=True)
    return model.eval(), tensors


def inputs_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    seg = tensors["in.attention_mask"] * (1 + tensors["in.token_type_ids"])
    return {"src": tensors["in.input_ids"], "seg": seg}


def means(terms: dict) -> dict[str, float]:
    return {name: float(term.loss_sum / term.count) for name, term in terms.items()}


def total(terms: dict) -> float:
    return sum(float(term.weight * term.loss_sum / term.count) for term in terms.values())


def test_electra_gives_the_frozen_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tensors = frozen("F26_electra_total", "ElectraDiscriminator", ("rtd",))
    assert ("embedding.word.embedding.weight", "generator.embedding.word.embedding.weight") in [
        group[:2] for group in model.tied_names()
    ]
    labels, made = tensors["in.generator_labels"], {}
    uniform = tensors["in.uniform_noise"][labels != IGNORE]
    noise = -torch.log(-torch.log(uniform + 1e-9) + 1e-9)
    monkeypatch.setattr(mlm, "gumbel", lambda like: noise)
    real = model_module.replace_tokens
    monkeypatch.setattr(
        model_module, "replace_tokens", lambda *args, **more: made.setdefault("it", real(*args, **more))
    )
    terms = model(inputs_of(tensors), {"mlm": labels})
    seen = tensors["in.attention_mask"] > 0
    assert torch.equal(made["it"].word, tensors["out.disc_input_ids"][seen])
    assert torch.equal(made["it"].labels["rtd"], tensors["out.disc_labels"][seen])
    assert list(terms) == ["mlm", "rtd"] and int(terms["rtd"].count) == int(seen.sum())
    found = means(terms)
    assert found["mlm"] == pytest.approx(float(tensors["out.gen_loss"]), abs=2e-6)
    assert found["rtd"] == pytest.approx(float(tensors["out.disc_loss"]), abs=2e-6)
    assert total(terms) == pytest.approx(float(tensors["out.loss"]), rel=2e-5)
    logits = tensors["out.disc_logits"][seen]
    right = ((logits > 0) == (tensors["out.disc_labels"][seen] > 0)).sum()
    assert int(terms["rtd"].correct) == int(right)


def test_the_generator_learns_nothing_from_what_is_detected() -> None:
    model, tensors = frozen("F26_electra_total", "ElectraDiscriminator", ("rtd",))
    terms = model(inputs_of(tensors), {"mlm": tensors["in.generator_labels"]})
    shared = {id(model.embedding.word.embedding.weight)}
    terms["rtd"].loss_sum.backward()
    for name, parameter in model.generator.named_parameters():
        if id(parameter) not in shared:
            assert parameter.grad is None or not parameter.grad.any(), name
    assert model.target.rtd.linear_1.weight.grad.any() and model.embedding.word.embedding.weight.grad.any()


def test_ernie_health_gives_the_frozen_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = ("rtd", "mts", "csp")
    model, tensors = frozen(
        "F17_ernie_health", "ErnieHealthDiscriminator", targets, generator_shares=(), csp_size=16
    )
    order = torch.tensor([0, 2, 1, 3])  # there row i is the other form of row i + 2, here they are neighbours
    case = {name: x[order] for name, x in tensors.items() if name.startswith("in.")}
    labels = case["in.generator_labels"]
    hides = labels != IGNORE
    drawn = torch.cat([case["in.disc_input_ids"][hides][:, None], case["in.candidate_ids"][hides][:, 1:]], 1)
    monkeypatch.setattr(mlm, "draw", lambda logits, right, others: drawn)
    pairs = {name: x.unflatten(0, (2, 2)) for name, x in inputs_of(case).items()}
    terms = model(pairs, {"mlm": labels.unflatten(0, (2, 2))})
    assert list(terms) == ["mlm", "rtd", "mts", "csp"]
    for name, theirs in (("mlm", "gen"), ("rtd", "rtd"), ("mts", "mts"), ("csp", "csp")):
        expected = float(tensors[f"out.{theirs}_loss"])
        assert means(terms)[name] == pytest.approx(expected, rel=1e-5, abs=2e-6), name
    assert total(terms) == pytest.approx(float(tensors["out.loss"]), rel=2e-5)
    assert int(terms["mts"].count) == int(hides.sum()) and int(terms["csp"].count) == 4
    replaced = case["in.disc_labels"].bool()
    right = (tensors["out.mts_logits"][order][replaced].argmax(-1) == 0).float().mean()
    assert int(terms["mts"].correct) == round(float(right) * int(hides.sum()))


def test_nothing_replaced_is_no_loss_of_mts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(ModelConfig(**{**ELECTRA, "target": ("rtd", "mts", "csp")}), VOCAB)
    inputs = batch(rows=4)
    labels = torch.where(inputs["seg"] > 0, inputs["src"], IGNORE)
    own = labels[labels != IGNORE]
    monkeypatch.setattr(mlm, "draw", lambda logits, right, others: own[:, None].repeat(1, 1 + others))
    terms = model(inputs, {"mlm": labels})
    sum(term.loss_sum for term in terms.values()).backward()
    assert float(terms["mts"].loss_sum) == 0 and int(terms["mts"].correct) == 0
    assert int(terms["mts"].count) == len(own)


def test_draws_follow_the_softmax_and_the_others_are_put_aside() -> None:
    torch.manual_seed(3)
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5]).repeat(40_000, 1)
    before = logits.clone()
    drawn = mlm.draw(logits, torch.full((40_000,), 1), others=2)
    assert torch.equal(logits, before)
    p = torch.softmax(logits[0].double(), 0)
    counts = torch.bincount(drawn[:, 0], minlength=5).double()
    assert float(((counts - 40_000 * p) ** 2 / (40_000 * p)).sum()) < 4 + 5 * 8**0.5
    others, q = drawn[:, 1:], p.clone()
    q[1] = 0
    q /= q.sum()
    assert not (others == 1).any() and not (others[:, 0] == others[:, 1]).any()
    for first in (0, 2, 3, 4):
        for second in {0, 2, 3, 4} - {first}:
            share = float(((others[:, 0] == first) & (others[:, 1] == second)).double().mean())
            assert share == pytest.approx(float(q[first] * q[second] / (1 - q[first])), abs=0.01)


def test_same_seed_same_draws() -> None:
    model, inputs = build_model(ModelConfig(**ELECTRA), VOCAB).eval(), batch()
    labels = torch.where(inputs["seg"] > 0, inputs["src"], IGNORE)
    losses = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        losses.append(float(model(inputs, {"mlm": labels})["rtd"].loss_sum))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("shares", [(), ("word",), ("word", "pos", "seg", "layer_norm")])
def test_what_model_and_generator_share(shares: tuple[str, ...]) -> None:
    model = build_model(ModelConfig(**ELECTRA, generator_shares=shares), VOCAB)
    for name in ("word", "pos", "seg", "layer_norm"):
        own, theirs = (list(getattr(x.embedding, name).parameters()) for x in (model, model.generator))
        assert all((one is other) == (name in shares) for one, other in zip(own, theirs, strict=True))
    generator = model.generator
    assert generator.target.mlm.linear_2.weight is generator.embedding.word.embedding.weight
    assert len(generator.encoder.transformer) == 1 and generator.config.target == ("mlm",)


def test_a_teacher_stays_as_it_is() -> None:
    config = ModelConfig(**{**SIZES, "target": ("mlm",), "dropout": 0.5})
    body, teacher = build_model(config, VOCAB), build_body(config, VOCAB)
    model = Model(
        config,
        embedding=body.embedding,
        encoder=body.encoder,
        target=body.target,
        partners={"teacher": teacher},
    ).train()
    assert model.training and not any(module.training for module in model.teacher.modules())
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    inputs, found = batch(), {}

    class Asks(torch.nn.Module):
        token_labels = ()
        all_layers = True

        def forward(self, hidden, labels, *, seg, layout, run):
            found.update(taught=run({}, partner="teacher", all_layers=True), own=run.first, layout=layout)
            return {}

    model.target.mlm = Asks()
    model(inputs, {})
    expected = teacher.encode(inputs, layout=found["layout"])
    torch.testing.assert_close(found["taught"].hidden, expected.hidden)
    assert not found["taught"].hidden.requires_grad
    assert len(found["taught"].layers) == len(found["own"].layers) == 3
    assert model.eval().train().training and not model.teacher.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"generator": None},
            "--target rtd needs a generator: describe it by the key 'generator'",
        ),
        (
            {"generator": {"layer_num": 1}},
            "generator: the key 'layer_num' is unknown.",
        ),
        ({"generator": {"generator": {}}}, "generator: the key 'generator' is unknown"),
        ({"target": ("rtd", "mlm")}, "--target rtd mlm: the generator has the mlm target"),
        (
            {"decoder": "transformer"},
            "needs a generator, which goes with one encoder, not with --decoder",
        ),
        (
            {"embedding": ("dual",), "encoder": "dual", "stream_0": STREAM, "stream_1": STREAM},
            "needs a generator, which goes with one encoder, not with --embedding dual",
        ),
        ({"generator": {"heads_num": 5}}, "hidden_size 16 is no multiple of heads_num 5"),
        ({"generator_shares": ("word", "image")}, "generator_shares is 'image'; choose from word, pos"),
    ],
)
def test_settings_that_cannot_be(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ModelConfig(**{**ELECTRA, **changes})
    assert message in str(error.value)


def test_parts_that_cannot_be_shared() -> None:
    wide = {"emb_size": 12, "factorized_embedding_parameterization": True}
    with pytest.raises(ConfigError, match="generator_shares makes two tensors one, but their shapes are"):
        build_model(ModelConfig(**{**ELECTRA, "generator": wide}), VOCAB)
    with pytest.raises(ConfigError, match="generator_shares names 'task', which the embedding"):
        build_model(ModelConfig(**ELECTRA, generator_shares=("task",)), VOCAB)


def test_a_generator_that_no_target_needs_is_not_built() -> None:
    config = ModelConfig(**{**ELECTRA, "target": ("mlm",)})
    assert config.partners == () and build_model(config, VOCAB).generator is None
    assert build_body(ModelConfig(**ELECTRA), VOCAB).generator is None


@pytest.mark.parametrize(
    ("name", "discriminator", "targets"),
    [
        ("F26_electra_total", "ElectraDiscriminator", ("rtd",)),
        ("F17_ernie_health", "ErnieHealthDiscriminator", ("rtd", "mts", "csp")),
    ],
)
def test_folders_of_released_models_fill_model_and_generator(
    name: str, discriminator: str, targets: tuple[str, ...], tmp_path: Path
) -> None:
    """Every tensor of both folders, under PaddleNLP's names; what they share is found to be shared."""
    expected, tensors = frozen(name, discriminator, targets, generator_shares=(), csp_size=16)
    described = json.loads((GOLDEN / name).with_suffix(".json").read_text(encoding="utf-8"))["config"]
    for role, cls in (("discriminator", discriminator), ("generator", "ElectraGenerator")):
        (tmp_path / role).mkdir()
        about = {"architectures": [cls], "paddlenlp_version": "2.8.1", "model_type": "electra", **described}
        (tmp_path / role / "config.json").write_text(json.dumps(about))
        start = f"state.{role}."
        own = {key.removeprefix(start): x for key, x in tensors.items() if key.startswith(start)}
        save_file(own, tmp_path / role / "model.safetensors", metadata={"format": "pt"})
    model = build_model(expected.config.replace(generator_shares=("word", "pos")), 97)
    load_into(model, tmp_path / "discriminator", allow_new=(r"generator\.",))
    load_generator(model, tmp_path / "generator", flag="--generator_path", beside=True)
    held = model.state_dict()
    for key, tensor in expected.state_dict().items():
        first = int(key.endswith("seg.embedding.weight"))  # theirs have no row for padding
        assert torch.equal(held[key][first:], tensor[first:]), key
    assert model.config.generator_shares == (("word",) if name.startswith("F26") else ())
