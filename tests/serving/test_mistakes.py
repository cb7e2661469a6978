"""What a person gets wrong with the tools: a flag mistyped, a file that is absent, a model of another kind.

Each ends with exit code 2 and one line that names what is wrong.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from uer.cli import run

OUT = "--prediction_path out"
STACK = "--train_path train.tsv --train_features_path stack_ --models_num 1"
# script → its arguments, the model of another kind in the place of the first, what is said of it.
TOOLS = {
    "generate_lm": (
        f"lm.bin --test_path text.txt {OUT}",
        "mlm.bin",
        "--target is mlm, which is no language model",
    ),
    "generate_seq2seq": (f"pair.bin --test_path text.txt {OUT}", "lm.bin", "the model has no --decoder"),
    "evaluate_lm": (
        "lm.bin --test_path text.txt --seq_length 64",
        "mlm.bin",
        "--target is mlm, which is no language model",
    ),
    "cloze_test": (f"mlm.bin --test_path text.txt {OUT}", "lm.bin", "no head that fills blanks"),
    "extract_features": (f"mlm.bin --test_path text.txt {OUT}", "text.txt", "text.txt"),
    "extract_embeddings": ("mlm.bin --word_embedding_path out", "text.txt", "text.txt"),
    "topn_words_indep": ("mlm.bin --test_path text.txt", "text.txt", "text.txt"),
    "topn_words_dep": (
        "mlm.bin --test_path context.txt --cand_vocab_path text.txt",
        "text.txt",
        "text.txt",
    ),
    "take_layers": ("lm.bin --layers 1 --output_model_path out", "text.txt", "text.txt"),
    "export": ("mlm.bin --to onnx --output_path out", "text.txt", "text.txt"),
    "serve": ("lm.bin --port 0", "text.txt", "text.txt"),
    "run_lgb": (
        f"{STACK} --test_path train.tsv --test_features_path stack_ --params_path best.json",
        None,
        "",
    ),
    "run_lgb_cv_bayesopt": (f"{STACK} --epochs_num 1 --folds_num 2 --params_path out", None, ""),
    "diff_vocab": ("--vocab_1 text.txt --vocab_2 text.txt", None, ""),
    "average_models": ("--model_list_path lm.bin large_lm.bin --output_model_path out", None, ""),
}
PATHS = (
    "--test_path",
    "--cand_vocab_path",
    "--vocab_2",
    "--load_model_path",
    "--train_path",
    "--test_features_path",
)


@pytest.fixture
def mistaken(models, tmp_path, load_script, capsys):
    """Run a script with wrong arguments; the one line that it says."""
    for model in models.glob("*.bin*"):
        (tmp_path / model.name).symlink_to(model)
    Path("text.txt").write_text("好\n书\n", encoding="utf-8")
    Path("context.txt").write_text("好\t今天很好\n", encoding="utf-8")
    Path("train.tsv").write_text("label\ttext_a\n" + "0\tx\n1\ty\n" * 5)
    Path("best.json").write_text("{}")
    for part in ("train", "test"):
        np.save(f"stack_{part}_features_0.npy", np.full((10, 2), 0.5, np.float32))

    def call(script: str, words: list[str]) -> str:
        capsys.readouterr()
        assert run(load_script(f"scripts/{script}.py").main, words) == 2, (script, words)
        (line,) = [line for line in capsys.readouterr().err.splitlines() if " INFO" not in line]
        assert not Path("out").exists(), "nothing is written"
        return line

    return call


def arguments(script: str) -> list[str]:
    """The right ones, as words."""
    line = TOOLS[script][0]
    return shlex.split(line if line.startswith("--") else f"--load_model_path {line}")


@pytest.mark.parametrize("script", TOOLS)
def test_a_flag_mistyped(mistaken, script):
    words = arguments(script)
    flag = words[0]
    line = mistaken(script, [f"{flag}s", *words[1:]])
    assert f"{flag}s" in line and flag in line.replace(f"{flag}s", ""), "the flag that was meant is named"


@pytest.mark.parametrize("script", TOOLS)
def test_a_file_that_is_not_there(mistaken, script):
    words = arguments(script)
    tried = [place + 1 for place, word in enumerate(words) if word in PATHS]
    if script == "average_models":
        tried = [2]
    assert tried
    for place in tried:
        line = mistaken(script, [*words[:place], "absent", *words[place + 1 :]])
        assert "absent" in line and "not exist" in line, line


@pytest.mark.parametrize("script", [name for name, (_, other, _) in TOOLS.items() if other])
def test_a_model_of_another_kind(mistaken, script):
    _, other, message = TOOLS[script]
    assert message in mistaken(script, ["--load_model_path", other, *arguments(script)[2:]])


def test_the_second_of_two_models_is_not_there(mistaken):
    line = mistaken("serve", ["--load_model_path", "lm.bin", "absent", "--port", "0"])
    assert "absent does not exist" in line


def test_what_cannot_be_averaged_compared_or_stacked(mistaken):
    words = ["--model_list_path", "lm.bin", "mlm.bin", "--output_model_path", "out"]
    assert "lm.bin" in mistaken("average_models", words)
    assert "UTF-8" in mistaken("diff_vocab", ["--vocab_1", "text.txt", "--vocab_2", "lm.bin"])
    np.save("stack_train_features_0.npy", np.full((9, 2), 0.5, np.float32))
    for script in ("run_lgb", "run_lgb_cv_bayesopt"):
        line = mistaken(script, arguments(script))
        assert "stack_train_features_0.npy" in line and "9" in line and "10" in line
