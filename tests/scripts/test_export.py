"""Exported models: `transformers` loads them, computes the same, and cuts text alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from uer.checkpoints import load_into, read_companion, write_state
from uer.checkpoints.families import FAMILIES, pick_family
from uer.config import checkpoints as options
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.models.build import build_model
from uer.tasks.body import task_body
from uer.tasks.classifier import ClassifierModel
from uer.tokenizers import build_tokenizer

CONFIG = ModelConfig(
    emb_size=32,
    hidden_size=32,
    feedforward_size=64,
    heads_num=4,
    layers_num=2,
    max_seq_length=64,
    tie_weights=True,
)
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"好书坏a", "##b"]


@pytest.fixture
def main(load_script):
    return load_script("scripts/export.py").main


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return build_tokenizer("bert", vocab_path=tmp_path / "vocab.txt")


def random(model):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def classifier(**changes):
    config = CONFIG.replace(labels_num=2, **changes)
    return random(ClassifierModel(task_body(config, len(TOKENS)), labels_num=2, pooling="first")), config


def test_a_classifier(main, tokenizer, capsys):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    model, config = classifier()
    write_state("m.bin", model.state_dict(), config=config, tokenizer=tokenizer, labels={"差": 0, "好": 1})
    assert main(["--load_model_path", "m.bin", "--output_path", "out"]) == 0
    assert "Wrote out: BertForSequenceClassification." in capsys.readouterr().err
    theirs = AutoModelForSequenceClassification.from_pretrained("out").eval()
    their_tokenizer = AutoTokenizer.from_pretrained("out")
    batch = their_tokenizer(["好书a", "坏"], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = theirs(**batch).logits
        ours = model.logits({"src": batch["input_ids"], "seg": batch["attention_mask"]})
    assert (logits - ours).abs().max() < 1e-5
    answer = pipeline("text-classification", model=theirs, tokenizer=their_tokenizer)("好书a")
    assert answer[0]["label"] == {0: "差", 1: "好"}[int(ours[0].argmax())]


def test_and_back(main, tokenizer):
    model, config = classifier()
    write_state("m.bin", model.state_dict(), config=config, tokenizer=tokenizer, labels={"差": 0, "好": 1})
    main(["--load_model_path", "m.bin", "--output_path", "out"])
    companion = read_companion("out")
    assert companion.labels == {"差": 0, "好": 1} and companion.config.labels_num == 2
    again = ClassifierModel(task_body(companion.config, len(TOKENS)), labels_num=2, pooling="first")
    load_into(again, "out")
    state = model.state_dict()
    for name, tensor in again.state_dict().items():
        rows = slice(1, None) if name == "embedding.seg.embedding.weight" else slice(None)
        assert torch.equal(tensor[rows], state[name][rows])


@pytest.mark.parametrize(
    ("changes", "cls"),
    [
        ({"target": ("mlm", "sp")}, "BertForPreTraining"),
        ({"target": ("mlm",)}, "BertForMaskedLM"),
        ({"embedding": ("word", "pos"), "layernorm_eps": 1e-12}, "DistilBertForMaskedLM"),
        (
            {
                "embedding": ("word", "pos"),
                "remove_embedding_layernorm": True,
                "layernorm_positioning": "pre",
                "mask": "causal",
                "target": ("lm",),
                "hidden_act": "gelu_fast",
            },
            "GPT2LMHeadModel",
        ),
        (
            {"emb_size": 16, "factorized_embedding_parameterization": True, "parameter_sharing": True},
            "AlbertForMaskedLM",
        ),
    ],
)
def test_the_family_is_found(main, tokenizer, changes, cls):
    import transformers

    config = CONFIG.replace(**changes)
    model = random(build_model(config, len(TOKENS)))
    write_state("m.bin", model.state_dict(), config=config, tokenizer=tokenizer)
    main(["--load_model_path", "m.bin", "--output_path", "out"])
    values = json.loads(Path("out/config.json").read_text(encoding="utf-8"))
    assert values["architectures"] == [cls] and values["vocab_size"] == len(TOKENS)
    theirs, report = getattr(transformers, cls).from_pretrained("out", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    with torch.no_grad():
        hidden = theirs.eval()(ids, output_hidden_states=True).hidden_states[-1]
        assert (hidden - model.encode({"src": ids}).hidden).abs().max() < 1e-5


def test_choices_are_taken(main, tokenizer):
    model = random(build_model(CONFIG.replace(target=("mlm",)), len(TOKENS)))
    write_state("m.bin", model.state_dict(), config=CONFIG.replace(target=("mlm",)), tokenizer=tokenizer)
    main(["--load_model_path", "m.bin", "--output_path", "out", "--family", "xlm-roberta", "--head", "none"])
    values = json.loads(Path("out/config.json").read_text(encoding="utf-8"))
    assert values["architectures"] == ["XLMRobertaModel"]
    assert values["max_position_embeddings"] == 65, "positions begin behind the id of padding, here 0"


def test_the_norm_of_uer_is_said(main, tokenizer, capsys):
    config = CONFIG.replace(layernorm="uer", target=("mlm",))
    model = random(build_model(config, len(TOKENS)))
    write_state("m.bin", model.state_dict(), config=config)
    arguments = ["--load_model_path", "m.bin", "--output_path", "out"]
    main(arguments)
    said = capsys.readouterr().err
    assert "No tokenizer was exported; name its files by --vocab_path" in said
    assert "UER-py's layer norm has no counterpart there: hidden states of the export differ by up to" in said
    assert 1e-3 < float(said.strip().rpartition(" ")[2].rstrip(".")) < 1


def test_a_file_of_uer_needs_its_config(main, tokenizer, tmp_path):
    model = random(build_model(CONFIG.replace(target=("mlm",)), len(TOKENS)))
    torch.save(model.state_dict(), "m.bin")
    with pytest.raises(ConfigError, match="describe it with --config_path"):
        main(["--load_model_path", "m.bin", "--output_path", "out"])
    values = {name: value for name, value in CONFIG.to_dict().items() if value is not None}
    (tmp_path / "c.json").write_text(json.dumps(values))
    main(
        [
            "--load_model_path",
            "m.bin",
            "--output_path",
            "out",
            "--config_path",
            "c.json",
            "--vocab_path",
            "vocab.txt",
        ]
    )
    assert (tmp_path / "out" / "tokenizer.json").is_file()


@pytest.mark.parametrize(
    ("changes", "flags", "message"),
    [
        ({"has_residual_attention": True}, [], "no Hugging Face family computes .*has_residual_attention"),
        ({"mask": "causal_with_prefix"}, [], "no Hugging Face family computes .*mask"),
        ({}, ["--family", "gpt2"], "gpt2 has .*embedding word pos instead of word pos seg"),
        (
            {},
            ["--head", "lm"],
            "no bert class in transformers for a model with the head 'lm'; choose from none, mlm",
        ),
        (
            {},
            ["--family", "electra", "--head", "cls"],
            "activation 'tanh', that of ElectraForSequenceClassification 'gelu'",
        ),
        (
            {"pooling": "mean"},
            ["--head", "cls"],
            "pools by 'mean', BertForSequenceClassification takes the first",
        ),
        (
            {},
            ["--head", "qa"],
            "the model lacks output_layer.weight, output_layer.bias, which a bert model has",
        ),
    ],
)
def test_refusals(main, changes, flags, message):
    model, config = classifier(**changes)
    write_state("m.bin", model.state_dict(), config=config)
    with pytest.raises(CheckpointError, match=message):
        main(["--load_model_path", "m.bin", "--output_path", "out", *flags])


def test_an_embedding_of_each_side_cannot_go(main):
    config = CONFIG.replace(
        embedding=("word", "pos"),
        decoder="transformer",
        tgt_embedding=("word", "pos"),
        target=("lm",),
        has_lmtarget_bias=True,
        layernorm_eps=1e-5,
    )
    model = random(build_model(config, len(TOKENS)))
    write_state("m.bin", model.state_dict(), config=config)
    with pytest.raises(
        CheckpointError, match="source and target embeddings differ, but a bart model has one"
    ):
        main(["--load_model_path", "m.bin", "--output_path", "out"])


def test_tables_of_names_agree():
    assert tuple(FAMILIES) == options.FAMILIES
    heads = {part.replace(" ", "+") or "none" for name in FAMILIES for part in pick_family(name).classes}
    assert heads == set(options.HEADS)
