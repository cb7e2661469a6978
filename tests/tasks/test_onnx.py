"""Graphs in ONNX: onnxruntime's numbers are those of transformers and of ours; what cannot be written."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
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


RECURRENT = ["rnn", "lstm", "gru", "birnn", "bilstm", "bigru"]


def saved(tmp_path, target=(), **changes):
    """A random model of ours in m.bin."""
    config = ModelConfig(**{**SIZES, "max_seq_length": 32, "target": target, **changes})
    torch.manual_seed(5)
    model = build_model(config, 40).eval()
    initialize(model, deep_init=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    write_state(tmp_path / "m.bin", model.state_dict(), config=config)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*RECURRENT, "lstm bidirectional", "rnn bidirectional", "gatedcnn"])
def test_recurrent_and_convolutional_encoders(export, tmp_path, kind):
    name, _, both = kind.partition(" ")
    more = {"bidirectional": True} if both else {}
    more |= {"kernel_size": 3, "block_size": 1} if name == "gatedcnn" else {}
    model = saved(tmp_path, encoder=name, embedding=("word",), **more)
    export("m.bin")
    src, seg = rows()
    with torch.no_grad():
        expected = model.encode({"src": src, "seg": seg}).hidden
    np.testing.assert_allclose(given(src, seg)[seg > 0], expected[seg > 0], atol=1e-5)


KINDS_OF_LAYERS = {
    "albert": {
        "emb_size": 8,
        "factorized_embedding_parameterization": True,
        "parameter_sharing": True,
        "target": ("mlm",),
    },
    "ernie": {"embedding": ("word", "pos", "seg", "task"), "target": ("mlm",)},
    "sinusoids before the norm": {
        "embedding": ("word", "sinusoidalpos"),
        "layernorm_positioning": "pre",
        "target": ("mlm",),
    },
    "relative positions": {
        "embedding": ("word",),
        "relative_position_embedding": True,
        "layernorm": "t5",
        "remove_transformer_bias": True,
        "feed_forward": "gated",
        "target": ("mlm",),
    },
    "residual attention": {"has_residual_attention": True, "layernorm": "uer", "target": ("mlm",)},
    "prefix": {"mask": "causal_with_prefix", "embedding": ("word", "pos"), "target": ("lm",)},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS_OF_LAYERS)
def test_every_kind_of_transformer(export, tmp_path, kind):
    model = saved(tmp_path, **KINDS_OF_LAYERS[kind])
    export("m.bin")
    src, seg = rows()
    with torch.no_grad():
        expected = model.encode({"src": src, "seg": seg}).hidden
        expected = model.target.get_submodule(model.config.target[0]).logits(expected)
    np.testing.assert_allclose(given(src, seg)[seg > 0], expected[seg > 0], atol=1e-4)


@pytest.mark.slow
def test_a_language_model_with_keys_and_values_writes_what_transformers_writes(export, tmp_path):
    torch.manual_seed(2)
    size = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    gpt2 = GPT2LMHeadModel(
        GPT2Config(**size, initializer_range=0.3, bos_token_id=1, eos_token_id=None)
    ).eval()
    gpt2.save_pretrained(tmp_path / "gpt2")
    export(tmp_path / "gpt2", "--with_past")
    src = torch.tensor([[1, 7, 9]])
    expected = gpt2.generate(
        src, attention_mask=torch.ones_like(src), do_sample=False, max_new_tokens=20, pad_token_id=0
    )
    session, ids, new = onnxruntime.InferenceSession("m.onnx"), src.numpy(), src.numpy()
    past = np.zeros((2, 2, 1, 2, 0, 8), np.float32)
    for _ in range(20):
        logits, past = session.run(None, {"src": new, "seg": np.ones_like(ids), "past": past})
        new = logits[:, -1:].argmax(axis=-1)
        ids = np.concatenate([ids, new], axis=1)
    assert ids.tolist() == expected.tolist() and past.shape[4] == 22
    assert len(set(ids[0].tolist())) > 5


IDS = {"vocab_size": 40, "decoder_start_token_id": 1}
SEQ2SEQ = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2}
SEQ2SEQ |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, **IDS}
SEQ2SEQ |= {"max_position_embeddings": 32, "dropout": 0.0}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0, **IDS}
PAIRS = {
    "t5": (T5ForConditionalGeneration, T5Config(**T5)),
    "t5-v1_1": (
        T5ForConditionalGeneration,
        T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    ),
    "bart": (BartForConditionalGeneration, BartConfig(**SEQ2SEQ)),
    "pegasus": (PegasusForConditionalGeneration, PegasusConfig(**SEQ2SEQ, scale_embedding=True)),
}


def pair(tmp_path, kind):
    """A random encoder-decoder of theirs, and its folder."""
    torch.manual_seed(4)
    cls, config = PAIRS[kind]
    model = cls(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if kind != "pegasus" or "embed_positions" not in name:  # sinusoids
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path / kind)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("kind", PAIRS)
def test_encoder_and_decoder_are_two_files(export, tmp_path, kind, past):
    model = pair(tmp_path, kind)
    export(tmp_path / kind, *(["--with_past"] if past else []))
    src, seg = rows()
    target = torch.randint(1, 40, (3, 6), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(src, attention_mask=(seg > 0).long(), decoder_input_ids=target).logits.numpy()
    encoder, decoder = (onnxruntime.InferenceSession(f"m.{part}.onnx") for part in ("encoder", "decoder"))
    (memory,) = encoder.run(None, {"src": src.numpy(), "seg": seg.numpy()})
    common = {"memory": memory, "memory_seg": seg.numpy()}
    if not past:
        (logits,) = decoder.run(None, {"tgt_in": target.numpy(), **common})
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        return
    held = np.zeros((2, 2, 3, 2, 0, 8), np.float32)
    for first, behind in ((0, 3), (3, 4), (4, 6)):
        logits, held = decoder.run(None, {"tgt_in": target[:, first:behind].numpy(), "past": held, **common})
        np.testing.assert_allclose(logits, expected[:, first:behind], atol=1e-4)


@pytest.mark.slow
def test_a_model_fine_tuned_from_text_to_text(export, tmp_path):
    """Graphs of its file write what our own decoder writes."""
    both = {"embedding": ("word", "sinusoidalpos"), "tgt_embedding": ("word", "sinusoidalpos")}
    both |= {"decoder": "transformer", "decoder_layers_num": 1, "tie_weights": True, "share_embedding": True}
    model = saved(tmp_path, target=("lm",), **both)
    write_state(tmp_path / "m.bin", model.state_dict(), config=model.config, extra={"task": "text2text"})
    export("m.bin")
    src, seg = rows()
    target = torch.randint(1, 40, (3, 6), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = model.encode({"src": src, "seg": seg}).hidden
        expected = model.target.lm.logits(model.decode({"tgt_in": target}, hidden, seg).hidden)
    encoder, decoder = (onnxruntime.InferenceSession(f"m.{part}.onnx") for part in ("encoder", "decoder"))
    (memory,) = encoder.run(None, {"src": src.numpy(), "seg": seg.numpy()})
    np.testing.assert_allclose(memory[seg > 0], hidden[seg > 0], atol=1e-5)
    given = {"tgt_in": target.numpy(), "memory": memory, "memory_seg": seg.numpy()}
    np.testing.assert_allclose(decoder.run(None, given)[0], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_the_streams_of_a_dual_model(export, tmp_path, tied):
    stream = {**SIZES, "max_seq_length": 32, "embedding": ["word", "pos", "seg"], "encoder": "transformer"}
    dual = {"embedding": ("dual",), "encoder": "dual", "stream_0": stream, "stream_1": stream}
    config = ModelConfig(**{**SIZES, **dual, "target": (), "tie_weights": tied})
    torch.manual_seed(6)
    model = build_model(config, 40).eval()
    initialize(model)
    write_state(tmp_path / "m.bin", model.state_dict(), config=config)
    export("m.bin")
    src, seg = rows()
    inputs = {f"{name}_{n}": x for n in (0, 1) for name, x in (("src", src), ("seg", seg))}
    with torch.no_grad():
        expected = [out.hidden[seg > 0] for out in model.encode_pair(inputs)]
    for name, hidden in zip(("m.onnx",) if tied else ("m.stream_0.onnx", "m.stream_1.onnx"), expected):
        session = onnxruntime.InferenceSession(name)
        (found,) = session.run(None, {"src": src.numpy(), "seg": seg.numpy()})
        np.testing.assert_allclose(found[seg > 0], hidden, atol=1e-5)


def test_what_has_no_graph(export, tmp_path, capsys):
    model = saved(tmp_path, target=("lm",), encoder="gru", embedding=("word",))
    export("m.bin", "--with_past", code=2)
    assert "--with_past writes the keys and values of causal transformers" in capsys.readouterr().err
    write_state("other.bin", model.state_dict(), config=model.config, extra={"task": "regression"})
    export("other.bin", code=2)
    assert "does not write models of the task 'regression'" in capsys.readouterr().err
    saved(tmp_path, target=("mlm",))
    export("m.bin", "--with_past", code=2)
    assert "--with_past is for language models (lm), and the head is mlm" in capsys.readouterr().err
    export("m.bin", "--to", "hf", "--with_past", code=2)
    assert "--with_past is for --to onnx" in capsys.readouterr().err
