"""Graphs in ONNX: onnxruntime's numbers are those of transformers and of ours; what cannot be written."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from uer.checkpoints import write_state
from uer.cli import run
from uer.config.model import ModelConfig
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.tasks import onnx as onnx_module
from uer.tasks.classifier import ClassifierModel

SMALL = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 24, "max_position_embeddings": 32, "initializer_range": 0.3}
SIZES = {"emb_size": 16, "hidden_size": 16, "feedforward_size": 24, "heads_num": 2, "layers_num": 2}


@pytest.fixture
def export(load_script):
    """Run scripts/export.py --to onnx."""

    def call(model, *words, code=0):
        argv = ["--to", "onnx", "--load_model_path", str(model), "--output_path", "m.onnx", *words]
        assert run(load_script("scripts/export.py").main, argv) == code

    return call


def given(src, seg):
    """The output of the written graph."""
    session = onnxruntime.InferenceSession("m.onnx")
    return session.run(None, {"src": src.numpy(), "seg": seg.numpy()})[0]


def rows(pad=True):
    src = torch.randint(1, 40, (3, 11), generator=torch.Generator().manual_seed(4))
    seg = torch.ones_like(src)
    if pad:
        seg[1, 7:] = 0
    return src, seg


def test_masked_language_model_of_a_folder(export, tmp_path):
    torch.manual_seed(2)
    model = BertForMaskedLM(BertConfig(**SMALL)).eval()
    model.save_pretrained(tmp_path / "bert")
    export(tmp_path / "bert")
    src, seg = rows()
    with torch.no_grad():
        expected = model(src, attention_mask=(seg > 0).long()).logits
    real = seg > 0
    np.testing.assert_allclose(given(src, seg)[real], expected[real], atol=1e-4)


@pytest.mark.slow
def test_other_heads(export, tmp_path):
    torch.manual_seed(2)
    src, seg = rows()
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=32, initializer_range=0.3)
    ).eval()
    gpt2.save_pretrained(tmp_path / "gpt2")
    export(tmp_path / "gpt2")
    with torch.no_grad():
        np.testing.assert_allclose(given(src, seg)[seg > 0], gpt2(src).logits[seg > 0], atol=1e-4)
    bert = BertForSequenceClassification(BertConfig(**SMALL, num_labels=3)).eval()
    bert.save_pretrained(tmp_path / "bert")
    with torch.no_grad():
        out = bert(src, attention_mask=(seg > 0).long(), output_hidden_states=True)
    export(tmp_path / "bert")
    np.testing.assert_allclose(given(src, seg), out.logits, atol=1e-4)
    export(tmp_path / "bert", "--head", "none")
    np.testing.assert_allclose(given(src, seg)[seg > 0], out.hidden_states[-1][seg > 0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_classifiers_that_pool_otherwise(export, tmp_path, pooling):
    config = ModelConfig(**SIZES, labels_num=3, pooling=pooling, max_seq_length=32)
    model = ClassifierModel.build(config, 40).eval()
    initialize(model)
    write_state(tmp_path / "c.bin", model.state_dict(), config=config, extra={"task": "classifier"})
    export(tmp_path / "c.bin")
    src, seg = rows()
    with torch.no_grad():
        np.testing.assert_allclose(given(src, seg), model.logits({"src": src, "seg": seg}), atol=1e-5)


@pytest.fixture
def masked(tmp_path):
    """A masked language model of ours."""
    config = ModelConfig(**SIZES, target=("mlm",), max_seq_length=32)
    model = build_model(config, 40)
    initialize(model)
    write_state(tmp_path / "mlm.bin", model.state_dict(), config=config)
    return "mlm.bin"


def test_a_graph_that_computes_otherwise_is_not_written(export, masked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(onnx_module, "numeric_check", lambda *_, **__: 0.01)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Program())
    export(masked, code=2)
    assert "differ by 1.0e-02" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


class Program:
    """Stands for the exporter's result."""

    class model_proto:
        """Its bytes."""

        SerializeToString = staticmethod(bytes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--head", "lm"], "--head is lm, but mlm.bin has mlm"),
        (["--family", "bert"], "--family bert is for --to hf"),
    ],
)
def test_refusals(export, masked, capsys, words, message):
    export(masked, *words, code=2)
    assert message in capsys.readouterr().err


def test_models_without_a_graph(export, tmp_path, capsys):
    config = ModelConfig(**{**SIZES, "encoder": "gru", "embedding": ("word",), "target": ("lm",)})
    model = build_model(config, 40)
    initialize(model)
    write_state(tmp_path / "gru.bin", model.state_dict(), config=config)
    export("gru.bin", code=2)
    assert "not --encoder gru" in capsys.readouterr().err
    write_state(tmp_path / "other.bin", model.state_dict(), config=config, extra={"task": "regression"})
    export("other.bin", code=2)
    assert "does not write models of the task 'regression'" in capsys.readouterr().err
