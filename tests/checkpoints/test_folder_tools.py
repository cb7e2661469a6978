"""Tools on Hugging Face folders: scores of texts, the page, the hub's sentence-BERTs, typed flags, other
vocabularies.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch

from tests.checkpoints.folders import HUB_FOLDER, WORDS, make
from uer.checkpoints import read_companion
from uer.checkpoints.folder import open_folder
from uer.config.generation import DecodingOptions
from uer.errors import CheckpointError, ConfigError

TEXT = "the good book a b c very bad 好 书 我 很"


@pytest.mark.parametrize("words", [False, True])
def test_a_text_is_scored_behind_what_its_folder_begins_with(words, tmp_path, load_script, capsys):
    """GPT-2's bos token, or [CLS] of a GPT-2 with BERT's word pieces."""
    from transformers import AutoTokenizer

    model = make("gpt2", "LMHeadModel", tmp_path / "model")
    if words:
        bert = make("bert", "Model", tmp_path / "bert")
        for name in ("vocab.json", "merges.txt"):
            (tmp_path / "model" / name).unlink()
        (tmp_path / "bert" / "vocab.txt").rename(tmp_path / "model" / "vocab.txt")
        values = json.loads((tmp_path / "model" / "config.json").read_text())
        (tmp_path / "model" / "config.json").write_text(
            json.dumps({**values, "tokenizer_class": "BertTokenizer"})
        )
        assert bert.config.vocab_size < model.config.vocab_size
    Path("text.txt").write_text(TEXT + "\n", encoding="utf-8")
    words_ = ["--load_model_path", str(tmp_path / "model"), "--test_path", "text.txt", "--seq_length", "64"]
    load_script("scripts/evaluate_lm.py").main(words_)
    found = float(re.search(r"Perplexity: ([\d.]+)", capsys.readouterr().out)[1])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer(TEXT, add_special_tokens=False).input_ids
    begin = tokenizer.cls_token_id if words else tokenizer.bos_token_id
    with torch.no_grad():
        loss = float(model(torch.tensor([[begin, *ids]]), labels=torch.tensor([[begin, *ids]])).loss)
    assert found == pytest.approx(math.exp(loss), rel=1e-4)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            "layer.1.attention.self.query",
            r"2 tensors are missing .* or allow it by --allow_missing REGEX",
        ),
        ("output.dense.bias", r"4 tensors are missing .*linear_2\.bias.* Check --config_path"),
        (
            "layer.1.",
            r"16 tensors are missing .* and 12 more.* set layers_num in the config to 1",
        ),
    ],
)
def test_what_a_damaged_folder_lacks(fault, said, tmp_path, load_script, capsys):
    """The advice names a flag where it would help; --allow_missing takes what is there, --verbose tells."""
    from safetensors.torch import load_file, save_file

    make("bert", "ForMaskedLM", tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    save_file({name: x for name, x in load_file(file).items() if fault not in name}, file)
    Path("rows.tsv").write_text("label\ttext_a\n0\ta\n1\tb\n")
    words = ["--pretrained_model_path", str(tmp_path / "model"), "--train_path", "rows.tsv", "--dev_path"]
    words += ["rows.tsv", "--output_model_path", "out.bin", "--epochs_num", "1"]
    script = load_script("finetune/run_classifier.py")
    with pytest.raises(CheckpointError, match=said):
        script.main(words)
    assert not script.main([*words, "--allow_missing", r"^encoder\.", "--verbose"])
    table = capsys.readouterr().err
    assert re.search(r"\nnew +encoder\.transformer\.1\..* not in the file", table)
    assert re.search(r"loaded +\[23, 32\] +embedding\.word\.embedding\.weight\n", table)


def test_the_page_continues_as_their_generate(tmp_path):
    from transformers import AutoTokenizer

    from uer.serving.abilities import open_ability
    from uer.serving.model import describe

    theirs = make("gpt2", "LMHeadModel", tmp_path / "model")
    ability = open_ability(describe(str(tmp_path / "model")), "fp32", 32)
    *_, last = ability.stream("the good", DecodingOptions(top_k=1, max_new_tokens=6))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokenizer("the good", return_tensors="pt")["input_ids"]
    out = theirs.generate(input_ids=ids, max_new_tokens=6, do_sample=False, eos_token_id=None)[
        0, ids.shape[1] :
    ]
    assert (last["text"], last["tokens"]) == (tokenizer.decode(out), 6)


def test_the_page_tags_as_their_tagger(tmp_path):
    """All tags may be given, the last one too: a folder has none for padding."""
    from transformers import AutoTokenizer

    from uer.serving.abilities import open_ability
    from uer.serving.model import describe

    tags = {0: "O", 1: "B", 2: "I"}
    theirs = make("bert", "ForTokenClassification", tmp_path / "model", id2label=tags)
    given = open_ability(describe(str(tmp_path / "model")), "fp32", 32).run(TEXT)
    with torch.no_grad():
        batch = AutoTokenizer.from_pretrained(tmp_path / "model")(TEXT, return_tensors="pt")
        best = theirs(**batch).logits[0, 1:-1].argmax(1).tolist()
    assert [word["tag"] for word in given["words"]] == [tags[number] for number in best]
    assert 2 in best


def sentence_bert(folder, pooling="1_Pooling"):
    make("bert", "Model", folder)
    parts = [("Transformer", ""), ("Pooling", pooling), ("Normalize", "2_Normalize")]
    listed = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in parts]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')


def test_a_sentence_bert_of_the_hub(tmp_path, hub):
    sentence_bert(tmp_path / "model")
    assert read_companion("hf:someone/tiny").config.pooling == "max"
    assert f"{HUB_FOLDER}1_Pooling/config.json" in hub.asked


@pytest.mark.parametrize(("word", "pooling"), [("mean", "mean"), ("cls", "first"), ("lasttoken", "last")])
def test_a_sentence_bert_of_newer_files(word, pooling, tmp_path):
    """One word for the pooling, other names of the modules' classes."""
    sentence_bert(tmp_path / "model")
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": word}))
    names = ("base.modules.transformer.Transformer", "sentence_transformer.modules.pooling.Pooling")
    parts = [{"type": f"sentence_transformers.{n}", "path": p} for n, p in zip(names, ("", "1_Pooling"))]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(parts))
    assert read_companion(tmp_path / "model").config.pooling == pooling
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text('{"pooling_mode": "weightedmean"}')
    with pytest.raises(CheckpointError, match="pools by weightedmean; supported is one of"):
        read_companion(tmp_path / "model")


def test_modules_outside_the_folder(tmp_path):
    sentence_bert(tmp_path / "model", "../elsewhere")
    with pytest.raises(CheckpointError, match=r"modules\.json names '\.\./elsewhere', which lies outside"):
        open_folder(tmp_path / "model")
    (tmp_path / "model" / "modules.json").write_text('[{"type": 1}]')
    with pytest.raises(CheckpointError, match=r"modules\.json is no list of modules with type and path"):
        open_folder(tmp_path / "model")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"problem_type": "multi_label_classification"}, "multi_label"),
        ({"num_labels": 1}, "regression"),
        ({"num_labels": 3}, None),
    ],
)
def test_what_a_classifier_answers(tmp_path, kind, expected):
    make("bert", "ForSequenceClassification", tmp_path / "model", **kind)
    assert read_companion(tmp_path / "model").extra.get("task") == expected


def test_another_task_is_refused(tmp_path, load_script):
    make("bert", "ForSequenceClassification", tmp_path / "model", problem_type="multi_label_classification")
    Path("rows.tsv").write_text("text_a\na\n")
    words = [
        "--load_model_path",
        str(tmp_path / "model"),
        "--test_path",
        "rows.tsv",
        "--prediction_path",
        "out",
    ]
    with pytest.raises(
        CheckpointError, match=r"is a model of the task 'multi_label', .*run_classifier_multi_label"
    ):
        load_script("inference/run_classifier_infer.py").main(words)


@pytest.mark.parametrize(
    ("flags", "right"),
    [
        (["--vocab_path", "model/vocab.txt"], True),
        (["--tokenizer", "bert"], True),
        (["--vocab_path", "model/vocab.txt", "--do_lower_case", "true"], True),
        (["--do_lower_case", "false"], False),
        (["--tokenizer", "char"], False),
        (["--vocab_path", "other.txt"], False),
    ],
)
def test_typed_flags_may_repeat_a_folder(flags, right, load_script):
    make("bert", "ForSequenceClassification", Path("model"))
    Path("other.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    Path("rows.tsv").write_text("text_a\na\n")
    words = ["--load_model_path", "model", "--test_path", "rows.tsv", "--prediction_path", "out", *flags]
    script = load_script("inference/run_classifier_infer.py")
    if right:
        assert not script.main(words)
    else:
        with pytest.raises(ConfigError, match="is another tokenizer than the saved model's own"):
            script.main(words)


def test_another_vocabulary_renumbers_what_is_kept(tmp_path, load_script):
    """Ids of special tokens that stand in config.json follow their tokens."""
    make("bert", "ForMaskedLM", tmp_path / "model", pad_token_id=0, eos_token_id=3, bos_token_id=22)
    tokens = ["[CLS]", "[SEP]", "[UNK]", "[MASK]", "好", "书", "[PAD]"]
    Path("new.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    files = ["--new_vocab_path", "new.txt", "--new_model_path", "new.bin"]
    load_script("scripts/dynamic_vocab_adapter.py").main(
        ["--old_model_path", str(tmp_path / "model"), *files]
    )
    assert read_companion("new.bin").extra == {"family": "bert", "pad_token_id": 6, "eos_token_id": 1}
    load_script("scripts/export.py").main(["--load_model_path", "new.bin", "--output_path", "out"])
    values = json.loads(Path("out/config.json").read_text())
    assert (values["pad_token_id"], values["eos_token_id"], values["vocab_size"]) == (6, 1, 7)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "bart"])
def test_a_folder_goes_through_as_it_is(family, tmp_path, load_script):
    """Read and written again, with a tied output layer that is stored once: the same model and tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    heads = {"bert": "ForPreTraining", "gpt2": "LMHeadModel"}
    make(family, heads.get(family, "ForConditionalGeneration"), tmp_path / "model")
    load_script("scripts/export.py").main(
        ["--load_model_path", str(tmp_path / "model"), "--output_path", "out"]
    )
    before, after = (
        json.loads((path / "config.json").read_text()) for path in (tmp_path / "model", Path("out"))
    )
    assert after["architectures"] == before["architectures"] and after["tie_word_embeddings"]
    one, other = (AutoModel.from_pretrained(path).state_dict() for path in (tmp_path / "model", "out"))
    assert all(torch.equal(one[name], other[name]) for name in one if "position" not in name)
    one, other = (AutoTokenizer.from_pretrained(path)(TEXT).input_ids for path in (tmp_path / "model", "out"))
    assert one == other
