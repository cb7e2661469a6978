"""Scripts on Hugging Face folders with nothing typed but the folder and the data: what a new user does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoints.folders import make, rows_of
from uer.checkpoints import read_companion
from uer.errors import CheckpointError

HEADS = {
    "bert": "ForPreTraining",
    "roberta": "ForMaskedLM",
    "xlm-roberta": "ForMaskedLM",
    "distilbert": "ForMaskedLM",
    "electra": "ForPreTraining",
    "albert": "ForPreTraining",
    "gpt2": "LMHeadModel",
    "t5": "ForConditionalGeneration",
    "mt5": "ForConditionalGeneration",
    "bart": "ForConditionalGeneration",
    "pegasus": "ForConditionalGeneration",
}
# What `pretrain.py` is told, besides how much, to go on from a folder.
GO_ON = ["--dataset_path", "data.pt", "--pretrained_model_path", "model", "--output_model_path", "more.bin"]
LABELS = {"id2label": {0: "差", 1: "好"}, "label2id": {"差": 0, "好": 1}}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows_of(tmp_path / "train.tsv")
    rows_of(tmp_path / "dev.tsv", 9, seed=4)
    return tmp_path


def finetune(load_script, source):
    arguments = ["--train_path", "train.tsv", "--dev_path", "dev.tsv", "--output_model_path", "tuned.bin"]
    code = load_script("finetune/run_classifier.py").main(
        ["--pretrained_model_path", str(source), *arguments]
    )
    assert not code


def infer(load_script, model, *more):
    arguments = ["--test_path", "dev.tsv", "--prediction_path", "out.tsv", *more]
    assert not load_script("inference/run_classifier_infer.py").main(
        ["--load_model_path", str(model), *arguments]
    )
    with open("out.tsv", encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t") for line in file][1:]


@pytest.mark.parametrize("family", HEADS)
def test_fine_tune_and_predict(family, here, load_script):
    make(family, HEADS[family], here / "model")
    finetune(load_script, "model")
    predicted = infer(load_script, "tuned.bin")
    assert len(predicted) == 9 and {row[0] for row in predicted} <= {"好", "差"}


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "albert", "distilbert", "gpt2"])
def test_their_classifier_predicts_here(family, here, load_script):
    """Labels, logits of texts: as `transformers` gives them for the same folder."""
    from transformers import AutoTokenizer

    more = {"pad_token_id": 0} if family == "gpt2" else {}
    theirs = make(family, "ForSequenceClassification", here / "model", **LABELS, **more)
    rows = infer(load_script, "model", "--output_logits")
    tokenizer = AutoTokenizer.from_pretrained("model")
    texts = [line.split("\t")[1] for line in (here / "dev.tsv").read_text("utf-8").splitlines()[1:]]
    with torch.no_grad():
        logits = torch.cat([theirs(**tokenizer(text, return_tensors="pt")).logits for text in texts]).numpy()
    ours = np.array([[float(number) for number in row[1].split()] for row in rows])
    assert np.abs(ours - logits).max() < 1e-5
    assert [row[0] for row in rows] == [theirs.config.id2label[n] for n in logits.argmax(1)]


def test_a_classifier_numbers_the_labels_to_come(here, load_script):
    """Sorted by name 好 (U+597D) comes before 差 (U+5DEE); the folder has them the other way round."""
    make("bert", "ForSequenceClassification", here / "model", **LABELS)
    finetune(load_script, "model")
    assert list(read_companion("tuned.bin").labels) == ["差", "好"]
    assert list(read_companion("model").labels) == ["差", "好"]


@pytest.mark.parametrize("family", ["t5", "bart", "pegasus"])
def test_seq2seq_generation(family, here, load_script):
    """The likeliest tokens: as their `generate` gives them."""
    from transformers import AutoTokenizer

    theirs = make(family, "ForConditionalGeneration", here / "model")
    (here / "prompts.txt").write_text("the good book\n我 很 喜 欢\n", encoding="utf-8")
    arguments = ["--prediction_path", "out.jsonl", "--output_format", "jsonl", "--top_k", "1"]
    load_script("scripts/generate_seq2seq.py").main(
        ["--load_model_path", "model", "--test_path", "prompts.txt", "--tgt_seq_length", "8", *arguments]
    )
    tokenizer = AutoTokenizer.from_pretrained("model")
    lines = [json.loads(line) for line in (here / "out.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        ids = tokenizer(line["prompt"], return_tensors="pt")
        out = theirs.generate(
            input_ids=ids["input_ids"],
            max_new_tokens=7,
            min_new_tokens=7,
            do_sample=False,
            num_beams=1,
            eos_token_id=None,
            forced_eos_token_id=None,
            forced_bos_token_id=None,
            suppress_tokens=None,
        )[0, 1:]
        assert line["tokens"] == [tokenizer.convert_ids_to_tokens(int(n)) or "" for n in out]


def test_generation_from_gpt2(here, load_script):
    from transformers import AutoTokenizer

    theirs = make("gpt2", "LMHeadModel", here / "model")
    (here / "prompts.txt").write_text("the good\n", encoding="utf-8")
    arguments = ["--prediction_path", "out.jsonl", "--output_format", "jsonl", "--top_k", "1"]
    load_script("scripts/generate_lm.py").main(
        ["--load_model_path", "model", "--test_path", "prompts.txt", "--seq_length", "12", *arguments]
    )
    tokenizer = AutoTokenizer.from_pretrained("model")
    ids = tokenizer("the good", return_tensors="pt")["input_ids"]
    out = theirs.generate(input_ids=ids, max_length=12, do_sample=False, eos_token_id=None)[0, ids.shape[1] :]
    line = json.loads((here / "out.jsonl").read_text("utf-8"))
    assert line["tokens"] == tokenizer.convert_ids_to_tokens(out.tolist())


def test_from_the_hub(here, hub, load_script):
    make("bert", "ForPreTraining", here / "model")
    finetune(load_script, "hf:someone/tiny")
    assert len(infer(load_script, "tuned.bin")) == 9


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_heads_that_are_not_read(family, here):
    make(family, "ForSequenceClassification", here / "model", eos_token_id=2)
    with pytest.raises(
        CheckpointError, match=r"ForSequenceClassification in config\.json has a head that is not"
    ):
        read_companion("model")


def test_their_tagger_predicts_here(here, load_script):
    """All of the folder's tags may be given, the last one too, and [CLS] and [SEP] are read."""
    tags = {0: "O", 1: "B", 2: "I"}
    theirs = make("bert", "ForTokenClassification", here / "model", id2label=tags)
    text = "the good book a b c very bad 好 书 我 很"
    (here / "test.tsv").write_text(f"text_a\n{text}\n", encoding="utf-8")
    load_script("inference/run_ner_infer.py").main(
        ["--load_model_path", "model", "--test_path", "test.tsv", "--prediction_path", "out.tsv"]
    )
    from transformers import AutoTokenizer

    with torch.no_grad():
        logits = theirs(**AutoTokenizer.from_pretrained("model")(text, return_tensors="pt")).logits[0, 1:-1]
    expected = [tags[number] for number in logits.argmax(1).tolist()]
    assert (here / "out.tsv").read_text("utf-8").splitlines()[1].split() == expected
    assert "I" in expected, "else the last tag is not tried"


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "xlm-roberta", "distilbert", "electra", "albert", "gpt2"]
)
def test_a_tuned_classifier_goes_back(family, here, load_script):
    """Fine-tuned here, exported, loaded there: the same family, ids, special tokens, labels and logits."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    make(family, HEADS[family], here / "model")
    finetune(load_script, "model")
    rows = infer(load_script, "tuned.bin", "--output_logits")
    load_script("scripts/export.py").main(["--load_model_path", "tuned.bin", "--output_path", "out"])
    theirs = AutoModelForSequenceClassification.from_pretrained("out").eval()
    before, after = AutoConfig.from_pretrained("model"), theirs.config
    for name in ("model_type", "vocab_size", "bos_token_id", "eos_token_id"):
        assert getattr(after, name, None) == getattr(before, name, None), name
    first, tokenizer = AutoTokenizer.from_pretrained("model"), AutoTokenizer.from_pretrained("out")
    for name in ("bos_token", "eos_token", "cls_token", "sep_token", "unk_token", "mask_token"):
        assert getattr(tokenizer, name) == getattr(first, name), name
    texts = [line.split("\t")[1] for line in (here / "dev.tsv").read_text("utf-8").splitlines()[1:]]
    for text, row in zip(texts, rows):
        assert tokenizer(text)["input_ids"] == first(text)["input_ids"]
        with torch.no_grad():
            logits = theirs(**tokenizer(text, return_tensors="pt")).logits[0].numpy()
        assert np.abs(logits - np.array([float(x) for x in row[1].split()])).max() < 1e-5
        assert theirs.config.id2label[int(logits.argmax())] == row[0]


@pytest.mark.parametrize(
    ("family", "objective", "head"),
    [
        ("bert", "mlm", "ForMaskedLM"),
        ("roberta", "mlm", "ForMaskedLM"),
        ("gpt2", "lm", "LMHeadModel"),
        ("t5", "t5", "ForConditionalGeneration"),
    ],
)
def test_pre_training_goes_on_from_a_folder(family, objective, head, here, load_script):
    """Its tokenizer makes the dataset, its weights are trained on, and the export is one of its family."""
    from transformers import AutoConfig, AutoTokenizer

    make(family, head, here / "model")
    Path("corpus.txt").write_text("the good book a b c\n我 很 喜 欢 这 本 书\n" * 20, encoding="utf-8")
    words = ["--corpus_path", "corpus.txt", "--vocab_path", "model", "--dataset_path", "data.pt"]
    words += ["--data_processor", objective, "--seq_length", "16", "--processes_num", "2"]
    load_script("preprocess.py").main(words)
    assert not load_script("pretrain.py").main([*GO_ON, "--total_steps", "2", "--batch_size", "4"])
    load_script("scripts/export.py").main(["--load_model_path", "more.bin-2", "--output_path", "out"])
    before, after = AutoConfig.from_pretrained("model"), AutoConfig.from_pretrained("out")
    assert (after.model_type, after.eos_token_id) == (before.model_type, before.eos_token_id)
    texts = [AutoTokenizer.from_pretrained(path)("the good book 书").input_ids for path in ("model", "out")]
    assert texts[0] == texts[1]


def test_a_dataset_of_the_folders_vocabulary(here, load_script):
    """As a user of UER-py types it: the vocabulary file of the folder, at both commands."""
    make("bert", "ForMaskedLM", here / "model")
    Path("corpus.txt").write_text("the good book a b c\n" * 20, encoding="utf-8")
    vocab = ["--vocab_path", "model/vocab.txt"]
    words = ["--corpus_path", "corpus.txt", "--dataset_path", "data.pt", "--data_processor", "mlm"]
    load_script("preprocess.py").main([*words, *vocab, "--seq_length", "16"])
    assert not load_script("pretrain.py").main([*GO_ON, *vocab, "--total_steps", "2", "--batch_size", "4"])
    assert read_companion("more.bin-2").extra["family"] == "bert"


@pytest.mark.parametrize("fault", ["left over", "missing"])
def test_pre_training_asks_leave_for_what_does_not_fit(fault, here, load_script):
    from safetensors.torch import load_file, save_file

    make("bert", "ForMaskedLM", here / "model")
    file = here / "model" / "model.safetensors"
    state = load_file(file)
    if fault == "missing":
        state = {name: x for name, x in state.items() if "layer.1.output" not in name}
    save_file({**state, **({"strange": torch.ones(1)} if fault == "left over" else {})}, file)
    Path("corpus.txt").write_text("the good book a b c\n" * 20, encoding="utf-8")
    words = ["--corpus_path", "corpus.txt", "--dataset_path", "data.pt", "--data_processor", "mlm"]
    load_script("preprocess.py").main([*words, "--vocab_path", "model", "--seq_length", "16"])
    words = [*GO_ON, "--total_steps", "1", "--batch_size", "4"]
    with pytest.raises(CheckpointError, match=fault):
        load_script("pretrain.py").main(words)
    assert not load_script("pretrain.py").main([*words, "--allow_missing", r"^strange$|transformer\.1\."])
