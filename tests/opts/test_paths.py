"""What is read is not written over."""

import os
from pathlib import Path

import pytest

from uer.cli import run
from uer.errors import ConfigError
from uer.opts.paths import check_paths


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"prediction_path": "a.tsv", "test_path": "a.tsv"},
            "--prediction_path and --test_path name",
        ),
        ({"prediction_path": "./a.tsv", "test_path": "a.tsv"}, "give --prediction_path another name"),
        ({"prediction_path": "link.tsv", "test_path": "a.tsv"}, "same file, link.tsv"),
        ({"prediction_path": "hard.tsv", "test_path": "a.tsv"}, "same file, hard.tsv"),
        ({"dataset_path": "a.tsv", "corpus_path": ("b.txt", "a.tsv")}, "--dataset_path and --corpus_path"),
        ({"output_model_path": "a.tsv", "train_path": "a.tsv"}, "--output_model_path and --train_path"),
        ({"prediction_path": "a.tsv", "load_model_path": "a.tsv"}, "--prediction_path and --load_model_path"),
        ({"prediction_path": "new", "vectors_path": "new"}, "--prediction_path and --vectors_path"),
        ({"prediction_path": ""}, "--prediction_path is empty; give a path"),
        ({"corpus_path": ("a.tsv", " ")}, "--corpus_path is empty"),
        ({"train_path": "a.tsv", "output_model_path": "folder"}, "--output_model_path folder is a folder"),
        ({"test_path": "a.tsv", "prediction_path": "folder/"}, "--prediction_path folder/ is a folder"),
    ],
)
def test_files_that_would_be_lost(values, message):
    Path("a.tsv").write_text("x")
    Path("link.tsv").symlink_to("a.tsv")
    os.link("a.tsv", "hard.tsv")
    Path("folder").mkdir()
    with pytest.raises(ConfigError, match=message):
        check_paths(values)


@pytest.mark.parametrize(
    "values",
    [
        {"prediction_path": "-", "test_path": "-"},
        {"input_model_path": "a.tsv", "output_model_path": "."},
        {"prediction_path": "/dev/null", "vectors_path": "/dev/null", "test_path": "a.tsv"},
        {"output_model_path": "m.bin", "pretrained_model_path": "m.bin"},
        {"dataset_path": "d.pt", "eval_dataset_path": "d.pt"},
        {"train_path": "a.tsv", "dev_path": "a.tsv", "test_path": None, "model_list_path": ("a", "a")},
    ],
)
def test_what_may_be(values):
    Path("a.tsv").write_text("x")
    check_paths(values)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("preprocess.py", "--corpus_path c.txt --vocab_path v.txt --dataset_path c.txt --target lm"),
        ("finetune/run_classifier.py", "--train_path c.txt --dev_path v.txt --output_model_path c.txt"),
        ("scripts/build_vocab.py", "--corpus_path c.txt --output_path c.txt --delimiter char"),
        ("pretrain.py", "--dataset_path d.pt --vocab_path v.txt --output_model_path m.bin --log_path d.pt"),
    ],
)
def test_scripts_refuse_it_before_anything_is_written(script, words, load_script, capsys):
    for name in ("c.txt", "v.txt", "d.pt"):
        Path(name).write_text("[UNK]\n")
    assert run(load_script(script).main, words.split()) == 2
    error = capsys.readouterr().err
    assert "name the same file" in error and error.count("\n") == 1
    assert {file.name: file.read_text() for file in Path().iterdir()} == dict.fromkeys(
        ("c.txt", "v.txt", "d.pt"), "[UNK]\n"
    )
