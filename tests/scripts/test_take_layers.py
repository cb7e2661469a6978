"""Layers of a model as a smaller one: the tensors, the companion, and that it runs."""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from uer.checkpoints import load_into, read_companion, read_state, write_state
from uer.cli import run
from uer.config.model import ModelConfig
from uer.models.build import build_model
from uer.models.initialize import initialize

CONFIG = ModelConfig(
    emb_size=8, hidden_size=8, heads_num=2, feedforward_size=12, layers_num=4, max_seq_length=16, dropout=0.0
)


@pytest.fixture
def main(load_script):
    return load_script("scripts/take_layers.py").main


def test_layers_are_numbered_anew(main, tmp_path):
    model = build_model(CONFIG, 20)
    initialize(model)
    write_state("large.bin", model.state_dict(), config=CONFIG, extra={"seq_length": 16})
    words = ["--load_model_path", "large.bin", "--layers", "2", "4", "--output_model_path", "small.bin"]
    assert run(main, words) == 0
    companion = read_companion("small.bin")
    assert companion.config == CONFIG.replace(layers_num=2) and companion.extra["seq_length"] == 16
    small = build_model(companion.config, 20)
    load_into(small, "small.bin")  # strict: nothing missing, nothing left
    for place, number in enumerate((1, 3)):
        theirs = model.encoder.transformer[number].state_dict()
        for name, x in small.encoder.transformer[place].state_dict().items():
            assert torch.equal(x, theirs[name]), name
    assert torch.equal(small.embedding.word.embedding.weight, model.embedding.word.embedding.weight)
    assert torch.equal(small.target.mlm.linear_1.weight, model.target.mlm.linear_1.weight)


def test_a_folder_and_a_file_without_companion(main, tmp_path):
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_attention_heads=2, intermediate_size=12, num_hidden_layers=3
    )
    BertForMaskedLM(config).save_pretrained("folder")
    end = ["--layers", "3", "1", "1", "--output_model_path", "small.bin"]
    assert run(main, ["--load_model_path", "folder", *end]) == 0
    assert read_companion("small.bin").config.layers_num == 3
    state = read_state("small.bin")
    first, second, third = (state[f"encoder.transformer.{n}.feed_forward.linear_1.weight"] for n in range(3))
    assert torch.equal(second, third) and not torch.equal(first, second)
    torch.save(state, "bare.bin")
    assert run(main, ["--load_model_path", "bare.bin", *end[:2], "--output_model_path", "one.bin"]) == 0
    assert read_companion("one.bin") is None


@pytest.mark.parametrize(
    ("config", "layers", "message"),
    [
        (CONFIG, ["5"], "--layers names layer 5, and large.bin has 4; they count from 1"),
        (CONFIG, ["0"], "--layers is 0; it must be a number greater than 0"),
        (CONFIG.replace(parameter_sharing=True), ["1"], "large.bin has no layers encoder.transformer.0"),
    ],
)
def test_faults(main, capsys, config, layers, message):
    model = build_model(config, 20)
    write_state("large.bin", model.state_dict(), config=config)
    words = ["--load_model_path", "large.bin", "--layers", *layers, "--output_model_path", "small.bin"]
    assert run(main, words) == 2
    assert message in capsys.readouterr().err
