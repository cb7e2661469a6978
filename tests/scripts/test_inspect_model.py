"""What is said about a file or folder of weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.checkpoints.parity import build_theirs
from tests.checkpoints.parity_cases import cases
from uer.checkpoints import write_state
from uer.config.model import ModelConfig
from uer.errors import CheckpointError
from uer.models.build import build_model

CONFIG = ModelConfig(
    emb_size=8, hidden_size=8, feedforward_size=16, heads_num=2, layers_num=2, tie_weights=True
)

BOTH = "embedding.word.embedding.weight = tgt_embedding.word.embedding.weight"


@pytest.fixture
def main(load_script):
    return load_script("scripts/inspect_model.py").main


def said(main, capsys, *words):
    assert main([*map(str, words)]) == 0
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line)


def test_a_model_of_ours(main, capsys):
    model = build_model(CONFIG.replace(target=("mlm", "sp")), 11)
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    write_state("m.bin", state, config=CONFIG, labels={"好": 0}, extra={"seq_length": 9})
    out = said(main, capsys, "m.bin", "--tensors")
    assert out["family"] == "bert" and out["names"] == "UER-py 2024" and out["heads"] == "mlm, sp"
    assert "vocabulary 11, emb_size 8" in out["sizes"] and "layers_num 2, max_seq_length 512" in out["sizes"]
    count = sum(parameter.numel() for parameter in model.parameters())
    assert out["parameters"].startswith(f"{count} (")
    assert out["types"] == f"float16 ({len(state)} tensors)"
    assert out["tied"] == "embedding.word.embedding.weight = target.mlm.linear_2.weight"
    assert "2 heads; gelu; layer norm normal, post" in out["model"]
    assert out["labels"] == "好" and out["settings"] == "seq_length 9"


@pytest.mark.parametrize(
    ("case", "family", "heads"),
    [
        ("bert", "bert", "mlm, sp"),
        ("roberta_mlm", "bert without sentence prediction (RoBERTa-like)", "mlm"),
        ("albert", "albert", "mlm, sp"),
        ("gpt2", "gpt2", "lm"),
        ("t5", "t5", "lm"),
        ("t5_v1_1", "t5-v1_1", "lm"),
        ("bart", "bart", "lm"),
        ("pegasus", "pegasus or transformer (pre-norm)", "lm"),
        ("transformer_mt", "transformer (machine translation)", "lm"),
        ("bert_cls", "transformer encoder", "cls of 3 labels"),
        ("bilstm_bilm", "elmo (bilm)", "bilm"),
        ("lstm_lm", "recurrent", "lm"),
        ("gatedcnn_lm", "gatedcnn", "lm"),
    ],
)
def test_files_of_2021(shared, main, capsys, tmp_path, case, family, heads):
    held = load_file(shared / "golden" / "uer-2021" / f"{case}.safetensors")
    torch.save({name[6:]: t for name, t in held.items() if name.startswith("state.")}, tmp_path / "m.bin")
    out = said(main, capsys, tmp_path / "m.bin")
    assert (out["family"], out["heads"]) == (family, heads)
    assert out["names"] in ("UER-py 2021", "UER-py 2019-2023")
    assert out["companion"].startswith("none; --config_path and the vocabulary must be named")
    assert ("sinusoids" in out) == (case in ("pegasus", "transformer_mt"))


@pytest.mark.parametrize(
    ("cls", "heads", "tied"),
    [
        ("BertForSequenceClassification", "classifier of 2 labels", "nothing"),
        ("BertModel", "none", "nothing"),
        ("BertForMaskedLM", "mlm", "output layer = word embedding, stored once"),
        ("ElectraForPreTraining", "rtd", "nothing"),
        ("GPT2LMHeadModel", "lm", "output layer = word embedding, stored once"),
        ("GPT2Model", "none", "nothing"),
        ("T5Model", "none", BOTH),
        ("T5ForConditionalGeneration", "lm", f"{BOTH}; output layer = word embedding, stored once"),
    ],
)
def test_folders(main, capsys, tmp_path, cls, heads, tied):
    """A model without an output layer ties none."""
    case = next(case for case in cases() if case.cls == cls)
    build_theirs(case, 0.15, 1).save_pretrained(tmp_path)
    out = said(main, capsys, tmp_path)
    assert (out["family"], out["names"]) == (case.family, f"Hugging Face {case.family}")
    assert (out["heads"], out["tied"]) == (heads, tied)


def test_twins(main, capsys):
    """Two streams that are one model count once."""
    stream = {"embedding": ["word", "pos"], "encoder": "transformer"}
    changes = {
        "embedding": ("dual",),
        "encoder": "dual",
        "target": (),
        "stream_0": stream,
        "stream_1": stream,
    }
    for name, tie in (("one", True), ("two", False)):
        model = build_model(CONFIG.replace(**changes, tie_weights=tie), 11)
        write_state(name, model.state_dict(), config=model.config, extra={"family": "bert"})
    one, two = said(main, capsys, "one"), said(main, capsys, "two")
    assert one["family"] == "bert, dual (siamese, SBERT)"
    assert (one["tied"], two["tied"]) == ("stream 0 = stream 1", "nothing")
    counts = [int(out["parameters"].split()[0]) for out in (one, two)]
    assert counts[1] == 2 * counts[0]


def test_several_and_none(main, capsys, tmp_path):
    write_state("a", {"x": torch.ones(1)})
    write_state(
        "b", {"encoder.encoder_0.rnn.weight_ih_l0": torch.ones(1, 1), "classifier.weight": torch.ones(3, 4)}
    )
    assert main(["a", "b"]) == 0
    out = capsys.readouterr().out
    assert (
        "family: unknown" in out
        and "family: dual (siamese, SBERT)" in out
        and "siamese classifier of 3 labels" in out
    )
    with pytest.raises(CheckpointError, match=r"c does not exist; .* FILE_OR_FOLDER"):
        main(["c"])
