"""scripts/evaluate_lm.py: the figures of its one line, and bad input."""

from __future__ import annotations

import math
import re

import pytest
import torch

from tests.generation import oracle
from tests.loading import load_script
from uer.checkpoints import write_state
from uer.cli import run
from uer.tokenizers import build_tokenizer

TEXT = "一丁丂七丄万丈三上下丌不与丏丐丑丒专且丕世丗丘丙业丛东丝丞丟"


@pytest.fixture(scope="module")
def script():
    return load_script("scripts/evaluate_lm.py")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [chr(0x4E00 + number) for number in range(oracle.VOCAB - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = build_tokenizer("char", vocab_path=folder / "vocab.txt")
    model = oracle.ours(oracle.theirs())
    for name, config in (("lm", model.config), ("mlm", model.config.replace(target=("mlm",)))):
        write_state(folder / f"{name}.bin", model.state_dict(), config=config, tokenizer=tokenizer)
    (folder / "text.txt").write_text(TEXT + "\n", encoding="utf-8")
    (folder / "empty.txt").write_text("")
    return folder


def evaluate(script, files, capsys, *argv, model="lm.bin", text="text.txt", code=0):
    words = ["--load_model_path", str(files / model), "--test_path", str(files / text), *argv]
    assert run(script.main, words) == code
    return capsys.readouterr()


def test_the_line(script, files, capsys):
    out = evaluate(script, files, capsys, "--seq_length", "64").out
    gpt2 = oracle.theirs()
    ids = torch.tensor([[2, *(5 + ord(c) - 0x4E00 for c in TEXT)]])
    with torch.no_grad():
        loss = float(gpt2(ids, labels=ids).loss)
    found = re.fullmatch(
        r"Perplexity: ([\d.]+), bits per character: ([\d.]+), bits per byte: ([\d.]+) "
        r"\(30 tokens, 30 characters, 0 unknown tokens\)\.\n",
        out,
    )
    perplexity, character, byte = map(float, found.groups())
    assert perplexity == pytest.approx(math.exp(loss), rel=1e-4)
    assert character == pytest.approx(loss / math.log(2), rel=1e-4)
    assert byte == pytest.approx(character / 3, rel=1e-3)


@pytest.mark.parametrize(("precision", "error"), [("bf16", 0.02), ("int8", 0.05)])
def test_what_shorter_weights_cost(script, files, capsys, precision, error):
    lines = [
        evaluate(script, files, capsys, "--seq_length", "64", "--precision", kind).out
        for kind in ("fp32", precision)
    ]
    exact, found = (float(line.split()[1].rstrip(",")) for line in lines)
    assert found != exact and found == pytest.approx(exact, rel=error)


@pytest.mark.parametrize(
    ("argv", "changes", "message"),
    [
        (["--stride", "128"], {}, "--stride 128 must be less than --seq_length 128"),
        (["--seq_length", "500"], {}, "--seq_length is 500, but the model has 192 positions"),
        ([], {"text": "none.txt"}, "none.txt: the file does not exist"),
        ([], {"text": "empty.txt"}, "holds no text; write one document a line"),
        ([], {"model": "mlm.bin"}, "--target is mlm, which is no language model"),
    ],
)
def test_bad_input_is_one_line(script, files, capsys, argv, changes, message):
    error = evaluate(script, files, capsys, *argv, **changes, code=2).err.strip().split("\n")[-1]
    assert error.startswith("error: ") and message in error
