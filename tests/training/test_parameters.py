"""Which parameters are trained, which decay, at which share of the rate."""

from __future__ import annotations

import pytest

from uer.config.model import ModelConfig
from uer.config.training import OptimizerOptions
from uer.errors import ConfigError
from uer.models.build import build_model
from uer.training.optimizers import build_optimizer
from uer.training.parameters import freeze, parameter_groups, rate_shares

SIZES = {"emb_size": 8, "hidden_size": 8, "feedforward_size": 16, "heads_num": 2, "layers_num": 3}


def bert(**changes):
    return build_model(ModelConfig(**{**SIZES, "target": ("mlm", "sp"), **changes}), 20)


def test_the_rate_falls_layer_by_layer():
    shares = rate_shares([name for name, _ in bert().named_parameters()], 0.5)
    assert shares["embedding.word.embedding.weight"] == shares["embedding.layer_norm.gamma"] == 0.0625
    assert shares["encoder.transformer.0.self_attn.final_linear.bias"] == 0.125
    assert shares["encoder.transformer.2.feed_forward.linear_1.weight"] == 0.5
    assert shares["target.mlm.linear_1.weight"] == 1.0


def test_each_stack_is_counted_by_itself():
    model = bert(
        target=("lm",),
        decoder="transformer",
        tgt_embedding=("word",),
        decoder_layers_num=2,
        mask="fully_visible",
    )
    shares = rate_shares([name for name, _ in model.named_parameters()], 0.5)
    assert shares["encoder.transformer.0.feed_forward.linear_1.weight"] == 0.125
    assert shares["decoder.transformer_decoder.0.feed_forward.linear_1.weight"] == 0.25
    assert shares["tgt_embedding.word.embedding.weight"] == 0.0625


def test_shared_layers_and_no_layers_learn_at_the_full_rate():
    shares = rate_shares([name for name, _ in bert(parameter_sharing=True).named_parameters()], 0.5)
    assert shares["encoder.transformer.feed_forward.linear_1.weight"] == 1.0
    assert set(rate_shares(["a", "b"], 0.5).values()) == {1.0}


def test_groups_carry_share_decay_and_kind():
    model = bert()
    groups = parameter_groups(
        model.named_parameters(), OptimizerOptions(optimizer="muon", layerwise_lr_decay=0.5, weight_decay=0.2)
    )
    where = {name: group for group in groups for name, _ in group["params"]}
    assert where.keys() == dict(model.named_parameters()).keys()
    matrix = where["encoder.transformer.1.self_attn.linear_layers.0.weight"]
    assert (matrix["matrix"], matrix["lr_scale"], matrix["weight_decay"]) == (True, 0.25, 0.2)
    head = where["target.mlm.linear_2.weight"]
    assert (head["matrix"], head["lr_scale"], head["weight_decay"]) == (False, 1.0, 0.2)
    assert where["encoder.transformer.1.layer_norm_1.gamma"]["weight_decay"] == 0.0
    assert not where["embedding.word.embedding.weight"]["matrix"]


def test_without_llrd_there_are_two_groups():
    groups = build_optimizer(bert(), OptimizerOptions()).param_groups
    assert [(group["weight_decay"], group["lr_scale"]) for group in groups] == [(0.01, 1.0), (0.0, 1.0)]


def test_frozen_parameters_are_not_in_the_optimiser():
    model = bert()
    optimizer = build_optimizer(model, OptimizerOptions(freeze=r"^embedding\.|\.transformer\.[01]\."))
    trained = [name for group in optimizer.param_groups for name in group["param_names"]]
    assert trained and all(not name.startswith(("embedding", "encoder.transformer.0")) for name in trained)
    assert any(name.startswith("encoder.transformer.2.") for name in trained)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "--freeze '(' is no regular expression: "),
        ("bert", "--freeze 'bert' matches no parameter; the names of this model are like embedding.word"),
        (".", "--freeze '.' matches all parameters; the names of this model are like embedding.word"),
    ],
)
def test_senseless_patterns(pattern, message):
    with pytest.raises(ConfigError) as caught:
        freeze(bert(), pattern)
    assert str(caught.value).startswith(message)


def test_the_share_of_a_layer_must_make_sense():
    with pytest.raises(ConfigError, match=r"--layerwise_lr_decay is 1.5; it must be a number above 0"):
        OptimizerOptions(layerwise_lr_decay=1.5)
