"""Original TensorFlow checkpoints of BERT and ALBERT, both ways, through TensorFlow itself."""

from __future__ import annotations

import importlib.util
import re

import pytest
import torch

from tests.checkpoints.parity import build_theirs
from tests.checkpoints.parity_cases import cases
from tests.loading import load_script
from uer.checkpoints import load_into, read_state
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, EnvironmentFault
from uer.models.build import build_model

SIZES = {
    "emb_size": 32,
    "hidden_size": 32,
    "feedforward_size": 64,
    "heads_num": 4,
    "layers_num": 2,
    "max_seq_length": 64,
    "target": ("mlm", "sp"),
    "layernorm_eps": 1e-12,
    "tie_weights": True,
}


def main(name):
    return load_script(f"scripts/{name}.py").main


def paths(source, target):
    return ["--input_model_path", str(source), "--output_model_path", str(target)]


@pytest.fixture
def tensorflow():
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow absent: pip install 'uer[tensorflow]' runs the tests of its checkpoints")
    import tensorflow

    return tensorflow


def original(state):
    """The variables that the TensorFlow code of BERT names for a `BertForPreTraining`."""
    out = {}
    for name, tensor in state.items():
        if name.startswith("cls.predictions.decoder.") or name.endswith("position_ids"):
            continue
        new = re.sub(r"\.layer\.(\d+)\.", r".layer_\1.", name)
        new = new.replace("cls.seq_relationship.weight", "cls.seq_relationship.output_weights")
        new = new.replace("cls.seq_relationship.bias", "cls.seq_relationship.output_bias")
        new = new.replace("cls.predictions.bias", "cls.predictions.output_bias")
        new = new.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        if new.endswith("_embeddings.weight"):
            new = new.removesuffix(".weight")
        elif new.endswith(".weight"):
            new, tensor = new.removesuffix(".weight") + ".kernel", tensor.t()
        out[new.replace(".", "/")] = tensor.contiguous()
    return out


def test_bert_both_ways(tensorflow, tmp_path):
    from uer.checkpoints.original import read_checkpoint, write_checkpoint

    theirs = build_theirs(next(case for case in cases() if case.cls == "BertForPreTraining"), 0.15, seed=3)
    variables = original(theirs.state_dict())
    write_checkpoint(tmp_path / "bert.ckpt", {**variables, "bert/pooler/dense/kernel/adam_m": torch.ones(2)})
    arguments = [*paths(tmp_path / "bert.ckpt", tmp_path / "uer.bin"), "--layers_num", "2"]
    assert main("convert_bert_from_original_tf_to_uer")(arguments) == 0
    model = build_model(ModelConfig(**SIZES), 97).eval()
    report = load_into(model, tmp_path / "uer.bin")
    assert not report.new and not report.unused
    ids = torch.randint(5, 97, (2, 9))
    with torch.no_grad():
        out = theirs(ids, output_hidden_states=True)
        assert (model.encode({"src": ids}).hidden - out.hidden_states[-1]).abs().max() < 1e-5
    main("convert_bert_from_uer_to_original_tf")(paths(tmp_path / "uer.bin", tmp_path / "back.ckpt"))
    back = read_checkpoint(tmp_path / "back.ckpt")
    assert back.keys() == variables.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in variables.items())


def test_bert_without_sentence_prediction(tensorflow, tmp_path):
    from uer.checkpoints.original import write_checkpoint

    theirs = build_theirs(next(case for case in cases() if case.cls == "BertForPreTraining"), 0.15, seed=3)
    write_checkpoint(tmp_path / "bert.ckpt", original(theirs.state_dict()))
    arguments = [*paths(tmp_path / "bert.ckpt", tmp_path / "uer.bin"), "--type", "mlm"]
    main("convert_bert_from_original_tf_to_uer")(arguments)
    assert not any(name.startswith("target.sp") for name in read_state(tmp_path / "uer.bin"))


def test_albert_both_ways(tensorflow, tmp_path):
    from uer.checkpoints.original import read_checkpoint

    config = ModelConfig(
        **{**SIZES, "emb_size": 16}, factorized_embedding_parameterization=True, parameter_sharing=True
    )
    model = build_model(config, 97)
    torch.save(model.state_dict(), tmp_path / "uer.bin")
    main("convert_albert_from_uer_to_original_tf")(paths(tmp_path / "uer.bin", tmp_path / "albert.ckpt"))
    names = read_checkpoint(tmp_path / "albert.ckpt")
    group = "bert/encoder/transformer/group_0/inner_group_0"
    assert names[f"{group}/ffn_1/intermediate/dense/kernel"].shape == (32, 64)
    assert names["bert/embeddings/token_type_embeddings"].shape == (2, 16)
    assert f"{group}/LayerNorm_1/gamma" in names and "cls/seq_relationship/output_weights" in names
    main("convert_albert_from_original_tf_to_uer")(paths(tmp_path / "albert.ckpt", tmp_path / "back.bin"))
    back = read_state(tmp_path / "back.bin")
    for name, tensor in model.state_dict().items():
        rows = slice(1, None) if name == "embedding.seg.embedding.weight" else slice(None)
        assert torch.equal(back[name][rows], tensor[rows]), name


def test_faults(tensorflow, tmp_path):
    (tmp_path / "no.ckpt").write_text("nothing")
    with pytest.raises(
        CheckpointError, match=r"no\.ckpt is no TensorFlow checkpoint .*without \.index or \.data"
    ):
        main("convert_bert_from_original_tf_to_uer")(paths(tmp_path / "no.ckpt", tmp_path / "uer.bin"))


def test_without_tensorflow_the_extra_is_named(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(
        EnvironmentFault, match=r"'tensorflow' is needed here .* pip install 'uer\[tensorflow\]'"
    ):
        main("convert_albert_from_original_tf_to_uer")(paths(tmp_path / "a.ckpt", tmp_path / "uer.bin"))
