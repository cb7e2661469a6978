"""Greedy soups: what is taken, and that a spoilt model is left out."""

from __future__ import annotations

import pytest
import torch

from uer.checkpoints import read_state, write_state
from uer.cli import run
from uer.config.model import ModelConfig
from uer.models.initialize import initialize
from uer.tasks.classifier import ClassifierModel
from uer.tokenizers import build_tokenizer

CONFIG = ModelConfig(
    emb_size=8, hidden_size=8, heads_num=2, layers_num=1, feedforward_size=8, max_seq_length=16, labels_num=2
)
EXTRA = {"task": "classifier", "seq_length": 8, "single_text_sep": True}


@pytest.fixture
def ingredients(tmp_path):
    """Two like models, one with its labels swapped, and rows labelled as the first says."""
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"])
    )
    tokenizer = build_tokenizer("char", vocab_path=tmp_path / "vocab.txt")
    torch.manual_seed(3)
    model = ClassifierModel.build(CONFIG, len(tokenizer)).eval()
    initialize(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    good = {name: x.clone() for name, x in model.state_dict().items()}
    texts = [first + second for first in "abcdefgh" for second in "abcdefgh"]
    rows = torch.tensor([[2, *tokenizer.encode(text), 3] for text in texts])
    with torch.no_grad():
        labels = model.logits({"src": rows, "seg": torch.ones_like(rows)})
        middle = (labels[:, 1] - labels[:, 0]).sort().values[31:33].mean()  # between two rows
        labels = (labels[:, 1] - labels[:, 0] > middle).long()
    good["output_layer_2.bias"][0] += middle
    near = {name: x * (1 + 1e-5) for name, x in good.items()}
    bad = {name: -10 * x if name.startswith("output_layer_2") else x for name, x in good.items()}
    for name, state in (("bad", bad), ("good", good), ("near", near)):
        path = tmp_path / f"{name}.bin"
        write_state(path, state, config=CONFIG, tokenizer=tokenizer, labels=["0", "1"], extra=EXTRA)
    lines = [f"{label}\t{text}" for label, text in zip(labels.tolist(), texts)]
    (tmp_path / "dev.tsv").write_text("\n".join(["label\ttext_a", *lines]) + "\n")
    return good, near


def test_a_spoilt_model_is_left_out(ingredients, load_script, capsys):
    good, near = ingredients
    argv = ["--model_list_path", "bad.bin", "good.bin", "near.bin", "--output_model_path", "soup.bin"]
    assert run(load_script("scripts/average_models.py").main, [*argv, "--soup_path", "dev.tsv"]) == 0
    said = capsys.readouterr().err
    assert "good.bin alone: 1.0000" in said and "bad.bin alone: 0.0000" in said
    for name, tensor in read_state("soup.bin").items():
        torch.testing.assert_close(tensor, (good[name] + near[name]) / 2)


def test_one_is_copied_where_no_other_helps(ingredients, load_script):
    good, _ = ingredients
    argv = ["--model_list_path", "bad.bin", "good.bin", "--output_model_path", "soup.bin"]
    assert run(load_script("scripts/average_models.py").main, [*argv, "--soup_path", "dev.tsv"]) == 0
    for name, tensor in read_state("soup.bin").items():
        assert torch.equal(tensor, good[name]), name
