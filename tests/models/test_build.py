"""Building: names of weights, ties, sizes, errors, first values."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.models.golden import GOLDEN, load_case
from tests.models.zoo import SIZES, VOCAB, batch, small
from uer.config.model import ModelConfig
from uer.errors import ConfigError
from uer.models.build import build_body, build_model
from uer.models.initialize import initialize

ENCODER_DECODER = {
    "embedding": ("word",),
    "tgt_embedding": ("word",),
    "decoder": "transformer",
    "target": ("lm",),
}
WORD, TGT_WORD = "embedding.word.embedding.weight", "tgt_embedding.word.embedding.weight"
OUTPUT = "target.lm.output_layer.weight"

STREAM = {**SIZES, "embedding": "word_pos", "encoder": "transformer", "vocab_size": 7}
DUAL = {"embedding": ("dual",), "encoder": "dual", "target": (), "stream_0": STREAM, "stream_1": STREAM}


def config(**changes: object) -> ModelConfig:
    return ModelConfig(**{**SIZES, **changes})


@pytest.mark.parametrize("path", sorted((GOLDEN / "uer-2024").glob("*.json")), ids=lambda path: path.stem)
def test_names_and_shapes_are_those_of_uer_2024(path: Path) -> None:
    case = load_case(path.with_suffix(""))
    state = build_model(case.config(), case.meta["vocab_size"]).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == case.meta["keys"]


@pytest.mark.parametrize(
    ("changes", "groups"),
    [
        ({"tie_weights": True}, [(WORD, "target.mlm.linear_2.weight")]),
        ({"tie_weights": True, "target": ("lm",)}, [(WORD, OUTPUT)]),
        ({"tie_weights": True, "target": ("cls",), "labels_num": 2}, []),
        (ENCODER_DECODER, []),
        ({**ENCODER_DECODER, "tie_weights": True}, [(TGT_WORD, OUTPUT)]),
        ({**ENCODER_DECODER, "share_embedding": True}, [(WORD, TGT_WORD)]),
        ({**ENCODER_DECODER, "share_embedding": True, "tie_weights": True}, [(WORD, TGT_WORD, OUTPUT)]),
    ],
    ids=["mlm", "lm", "cls", "none", "decoder", "shared", "all three"],
)
def test_fresh_models_tie_what_the_flags_say(changes: dict, groups: list[tuple[str, ...]]) -> None:
    model = build_model(config(**changes), VOCAB)
    assert [tuple(sorted(group)) for group in model.tied_names()] == [
        tuple(sorted(group)) for group in groups
    ]


def test_a_tie_can_be_undone() -> None:
    model = build_model(config(**ENCODER_DECODER, share_embedding=True, tie_weights=True), VOCAB)
    model.untie(TGT_WORD)
    assert [sorted(group) for group in model.tied_names()] == [[WORD, OUTPUT]]
    with torch.no_grad():
        model.tgt_embedding.word.embedding.weight.zero_()
    assert bool(model.embedding.word.embedding.weight.any())
    model.untie(OUTPUT)
    assert model.tied_names() == []


def test_two_vocabularies() -> None:
    model = build_model(config(**ENCODER_DECODER), 20, 30)
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert (shapes[WORD], shapes[TGT_WORD], shapes[OUTPUT]) == ([20, 16], [30, 16], [30, 16])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": ("cls",)}, "--target cls needs --labels_num"),
        (
            {
                "tie_weights": True,
                "encoder": "lstm",
                "embedding": ("word",),
                "emb_size": 12,
                "target": ("lm",),
            },
            r"--tie_weights makes two tensors one, but their shapes are \[50, 16\] and \[50, 12\]; leave",
        ),
        (
            {**DUAL, "stream_0": {**STREAM, "layer_num": 3}},
            "stream_0: the key 'layer_num'.*layers_num",
        ),
        ({**DUAL, "stream_1": {"encoder": "lstm"}}, "stream_1 has no embedding of its own; name one"),
        ({**DUAL, "stream_1": {**STREAM, "encoder": "dual"}}, "stream_1 has no encoder of its own; name one"),
        ({**DUAL, "stream_0": None}, "--embedding dual needs the keys stream_0 and stream_1"),
        ({"prefix_lm_loss": True, **ENCODER_DECODER}, "--prefix_lm_loss does not go with --decoder"),
    ],
)
def test_errors(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(config(**changes), VOCAB)


def test_sharing_needs_one_vocabulary() -> None:
    with pytest.raises(ConfigError, match=r"--share_embedding makes.*\[30, 16\] and \[20, 16\]"):
        build_model(config(**ENCODER_DECODER, share_embedding=True), 20, 30)


def test_a_body_has_no_targets() -> None:
    body = build_body(config(), VOCAB)
    assert body.target is None and not any(name.startswith("target") for name in body.state_dict())


def test_streams_of_a_dual_model() -> None:
    model = build_body(ModelConfig(**{**DUAL, "stream_1": {**STREAM, "layers_num": 1}}), VOCAB)
    names = list(model.state_dict())
    assert "encoder.encoder_0.transformer.1.self_attn.final_linear.bias" in names
    assert not any(name.startswith("encoder.encoder_1.transformer.1") for name in names)
    assert model.tied_names() == []
    tied = build_body(ModelConfig(**DUAL, tie_weights=True, dual_stream_norm=True), VOCAB)
    assert tied.encoder.encoder_1 is tied.encoder.encoder_0
    assert tied.embedding.dual.embedding_1 is tied.embedding.dual.embedding_0
    assert tied.embedding.dual.stream_0_layer_norm is not tied.embedding.dual.stream_1_layer_norm
    inputs = {f"{key}_{number}": x for key, x in batch().items() for number in (0, 1)}
    outputs = model.encode_pair(inputs, all_layers=True)
    assert [len(out.layers) for out in outputs] == [3, 2]
    padded = model.encode_pair(inputs, layout=None)
    real = inputs["seg_0"] > 0
    for ours, theirs in zip(outputs, padded):
        torch.testing.assert_close(ours.hidden[real], theirs.hidden[real])


def test_targets_may_run_the_model_again() -> None:
    model, inputs = small("bert", target=("mlm",)), batch()
    found = {}

    class Twice(torch.nn.Module):
        token_labels = ("mlm",)

        def forward(self, hidden, labels, *, seg, layout, run):
            assert run.first.hidden is hidden and run.first.layers is None
            found["same"] = run({}).hidden
            found["other"] = run({"word": torch.ones_like(labels["mlm"])}).hidden
            found["hidden"] = hidden
            return {}

    model.target.mlm = Twice()
    model(inputs, {"mlm": inputs["src"]})
    assert torch.equal(found["same"], found["hidden"]) and found["other"].shape == found["hidden"].shape
    assert not torch.allclose(found["other"], found["hidden"])


@pytest.mark.parametrize("name", ["bert", "t5", "gatedcnn", "lstm"])
@pytest.mark.parametrize("deep_init", [False, True])
def test_first_values(name: str, deep_init: bool) -> None:
    model = small(name, target=("mlm", "sp"), emb_size=32, hidden_size=32)
    torch.manual_seed(8)
    initialize(model, deep_init=deep_init)
    for key, tensor in model.named_parameters():
        parameter, leaf = tensor.detach(), key.rsplit(".", 1)[-1]
        if leaf == "gamma" or ("layer_norm" in key and leaf == "weight"):
            assert bool((parameter == 1).all()), key
        elif leaf in ("beta", "bias") or "bias_" in leaf or "conv_b" in key or "gate_b" in key:
            assert not parameter.any(), key
        else:
            deep = deep_init and key.endswith(("linear_2.weight", "final_linear.weight"))
            expected = 0.02 / math.sqrt(2 * model.config.layers_num) if deep else 0.02
            tolerance = 4 * expected / math.sqrt(2 * parameter.numel())
            assert float(parameter.std()) == pytest.approx(expected, abs=tolerance), key
            assert abs(float(parameter.mean())) < 5 * expected / math.sqrt(parameter.numel()), key
    again = small(name, target=("mlm", "sp"), emb_size=32, hidden_size=32)
    torch.manual_seed(8)
    initialize(again, deep_init=deep_init)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_only_named_parameters_are_filled() -> None:
    model = small("bert")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = "encoder.transformer.0.layer_norm_1.gamma"
    initialize(model, names=[name])
    changed = [key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])]
    assert changed == [name]
