"""scripts/generate_lm.py: UER's own numbers and format, both dialects of flags, many prompts, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.loading import load_script
from uer.checkpoints import write_state
from uer.cli import run
from uer.config.model import ModelConfig
from uer.tokenizers import build_tokenizer

ROOT = Path(__file__).resolve().parents[2]
CASE = json.loads((ROOT / "tests/golden/uer-tasks/generate_gpt2.json").read_text(encoding="utf-8"))
TENSORS = load_file(ROOT / "tests/golden/uer-tasks/generate_gpt2.safetensors")
STATE = {name.removeprefix("state."): x for name, x in TENSORS.items() if name.startswith("state.")}
SIZES = {
    name: CASE["config"][name]
    for name in (
        "emb_size",
        "feedforward_size",
        "hidden_size",
        "hidden_act",
        "heads_num",
        "layers_num",
        "max_seq_length",
    )
}
FLAGS_2021 = [
    "--embedding",
    "word_pos",
    "--remove_embedding_layernorm",
    "--encoder",
    "transformer",
    "--mask",
    "causal",
    "--layernorm_positioning",
    "pre",
    "--target",
    "lm",
    "--tie_weights",
    "--layernorm",
    "uer",
]


@pytest.fixture(scope="module")
def script():
    return load_script("scripts/generate_lm.py")


@pytest.fixture
def files(tmp_path):
    """Model (with and without companion), vocabulary, configs of both generations, one prompt."""
    (tmp_path / "vocab.txt").write_text("\n".join(CASE["vocab"]) + "\n", encoding="utf-8")
    tokenizer = build_tokenizer("char", vocab_path=tmp_path / "vocab.txt")
    torch.save(STATE, tmp_path / "old.bin")
    known = {name: value for name, value in CASE["config"].items() if name in ModelConfig.names()}
    write_state(
        tmp_path / "new.bin", STATE, config=ModelConfig(**known, layernorm="uer"), tokenizer=tokenizer
    )
    (tmp_path / "config.json").write_text(json.dumps(CASE["config"]))
    (tmp_path / "sizes.json").write_text(json.dumps(SIZES))
    (tmp_path / "prompt.txt").write_text(CASE["prompt_text"] + "\n", encoding="utf-8")
    return tmp_path


def generate(script, files, *argv, model="new.bin", prompt="prompt.txt", out="out.txt", code=0):
    """Run the script; what it wrote."""
    words = ["--load_model_path", str(files / model), "--test_path", str(files / prompt)]
    words += ["--prediction_path", str(files / out), *map(str, argv)]
    assert run(script.main, words) == code
    return (files / out).read_text(encoding="utf-8") if (files / out).exists() else None


GREEDY = ("--top_k", "1", "--seq_length", "32")


def test_uers_own_text_with_the_companion_alone(script, files):
    assert generate(script, files, *GREEDY) == CASE["written"]


@pytest.mark.parametrize(
    "argv",
    [
        ["--config_path", "sizes.json", *FLAGS_2021],
        ["--config_path", "config.json", "--layernorm", "uer"],
        ["--config_path", "config.json", "--layernorm", "uer", "--target", "lm"],
    ],
)
def test_uers_own_text_from_flags_of_both_generations(script, files, argv):
    argv = [str(files / word) if word.endswith(".json") else word for word in argv]
    argv += ["--vocab_path", str(files / "vocab.txt"), "--tokenizer", "char"]
    assert generate(script, files, *argv, *GREEDY, model="old.bin") == CASE["written"]
    # The same flags beside the companion are no contradiction.
    assert generate(script, files, *argv, *GREEDY) == CASE["written"]


def test_every_line_is_a_prompt_and_batches_do_not_matter(script, files):
    lines = [CASE["prompt_text"], CASE["prompt_text"][:3], "", CASE["prompt_text"][2:]]
    (files / "many.txt").write_text("\n".join(lines), encoding="utf-8")
    together = generate(script, files, *GREEDY, prompt="many.txt")
    assert together == generate(
        script, files, *GREEDY, "--batch_size", "1", prompt="many.txt", out="alone.txt"
    )
    alone = []
    for number, line in enumerate(lines):
        (files / f"{number}.txt").write_text(line + "\n", encoding="utf-8")
        alone.append(generate(script, files, *GREEDY, prompt=f"{number}.txt", out=f"{number}.out"))
    assert together == "\n\n".join(alone)
    assert alone[0] == CASE["written"]
    assert alone[2].startswith("\n[CLS]")


def test_json_lines(script, files):
    (files / "two.txt").write_text(f"{CASE['prompt_text']}\n{CASE['prompt_text'][:2]}\n", encoding="utf-8")
    argv = [
        "--top_k",
        "5",
        "--seq_length",
        "20",
        "--samples_num",
        "2",
        "--seed",
        "1",
        "--output_format",
        "jsonl",
    ]
    text = generate(script, files, *argv, "--output_scores", prompt="two.txt")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["prompt"] for row in rows] == [CASE["prompt_text"]] * 2 + [CASE["prompt_text"][:2]] * 2
    for row in rows:
        assert len(row["tokens"]) == len(row["log_probs"]) == 20 - 1 - len(row["prompt"])
        assert max(row["log_probs"]) < 0 and row["stopped"] is False
        special = ("[CLS]", "[SEP]", "[MASK]", "[PAD]")
        assert row["text"] == "".join(token for token in row["tokens"] if token not in special)
    assert rows[0]["tokens"] != rows[1]["tokens"]
    plain = generate(script, files, *argv[:-2], prompt="two.txt", out="plain.txt")
    blocks = [block.split("\n") for block in plain.split("\n\n")]
    assert [block[0] for block in blocks] == [rows[0]["prompt"], rows[2]["prompt"]]
    for row, line in zip(rows, [line for block in blocks for line in block[1:]]):
        assert line == "[CLS]" + row["prompt"] + "".join(row["tokens"])


def test_a_drawn_text_can_be_repeated(script, files, capsys):
    drawn = generate(script, files, "--seq_length", "32")
    seed = capsys.readouterr().err.split("--seed ")[1].split(" ")[0]
    assert generate(script, files, "--seq_length", "32", "--seed", seed, out="again.txt") == drawn
    assert generate(script, files, "--seq_length", "32", "--seed", int(seed) + 1, out="other.txt") != drawn


def test_stop_strings(script, files):
    whole = CASE["written"]
    tokens = [CASE["vocab"][number] for number in TENSORS["out.ids"][0].tolist()]
    expected = whole[: whole.index("[CLS]", 5 + len(CASE["prompt_text"]) + 5)]
    assert generate(script, files, *GREEDY, "--stop", "[CLS]") == expected
    assert (
        generate(script, files, *GREEDY, "--stop", "[SEP]", tokens[6] + tokens[7])
        == whole[: whole.index(tokens[6] + tokens[7])]
    )


def test_beams(script, files):
    argv = ["--beam_size", "3", "--samples_num", "3", "--seq_length", "24", "--output_format", "jsonl"]
    rows = [json.loads(line) for line in generate(script, files, *argv).splitlines()]
    assert len(rows) == 3 and [row["score"] for row in rows] == sorted(
        (row["score"] for row in rows), reverse=True
    )
    assert len({tuple(row["tokens"]) for row in rows}) == 3


def test_only_allowed_tokens(script, files):
    allowed = CASE["vocab"][30:45]
    (files / "allowed.txt").write_text("\n".join(allowed) + "\n", encoding="utf-8")
    argv = ["--seq_length", "32", "--allowed_tokens_path", files / "allowed.txt", "--output_format", "jsonl"]
    row = json.loads(generate(script, files, *argv))
    assert len(row["tokens"]) == 24 and set(row["tokens"]) <= set(allowed)


@pytest.mark.parametrize("stop", [(), ("--stop", "[CLS]"), ("--stop", "嗳嗳啟")])
def test_the_stream_shows_what_is_written(script, files, capsys, stop):
    (files / "two.txt").write_text(f"{CASE['prompt_text']}\n{CASE['prompt_text'][:2]}\n", encoding="utf-8")
    written = generate(script, files, *GREEDY, *stop, "--stream", prompt="two.txt")
    assert capsys.readouterr().out == written + "\n"


def test_from_a_pipe_into_a_pipe(script, files, capsys, monkeypatch):
    written = generate(script, files, *GREEDY)
    words = ["--load_model_path", str(files / "new.bin"), "--prediction_path", "-", *GREEDY]
    with open(files / "prompt.txt", "rb") as prompt:
        monkeypatch.setattr("sys.stdin", prompt)
        capsys.readouterr()
        assert run(script.main, [*words, "--test_path", "-"]) == 0
    assert capsys.readouterr().out == written and not Path("-").exists()


@pytest.mark.parametrize(
    ("argv", "prompts", "message"),
    [
        ([], None, "does not exist"),
        ([], "", "is empty; write one prompt a line"),
        (
            ["--seq_length", "8"],
            CASE["prompt_text"],
            "two.txt:1: the prompt has 8 tokens, --seq_length 8 counts",
        ),
        (["--seq_length", "65"], "x", "--seq_length is 65, but the model has 64 positions; give at most 64"),
        (["--output_scores"], "x", "--output_scores needs --output_format jsonl"),
        (
            ["--stream", "--beam_size", "2", "--seq_length", "32"],
            "x",
            "--stream shows one text as it grows, --beam_size 2",
        ),
        (["--stream", "--prediction_path", "-"], "x", "--prediction_path - writes them once more"),
        (["--top_kk", "2"], "x", "unknown flag '--top_kk'. Did you mean '--top_k'?"),
        (
            ["--target", "mlm"],
            "x",
            "--target is ['mlm'], but the companion folder of --load_model_path says ['lm']",
        ),
        (["--hidden_act", "relu"], "x", "unknown flag"),
        (["--tokenizer", "space"], "x", "--tokenizer space is another tokenizer than the saved model's own"),
        (
            ["--allowed_tokens_path", "none.txt", "--seq_length", "32"],
            "x",
            "none.txt: the file does not exist",
        ),
    ],
)
def test_bad_input_is_one_line(script, files, capsys, argv, prompts, message):
    if prompts is not None:
        (files / "two.txt").write_text(prompts, encoding="utf-8")
    assert generate(script, files, *argv, prompt="two.txt", code=2) is None
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert error.startswith("error: ") and message in error


def test_a_token_that_the_vocabulary_lacks(script, files, capsys):
    (files / "allowed.txt").write_text(f"{CASE['vocab'][30]}\nabc\n", encoding="utf-8")
    generate(script, files, *GREEDY, "--allowed_tokens_path", files / "allowed.txt", code=2)
    assert "allowed.txt:2: the vocabulary has no token 'abc'" in capsys.readouterr().err
    (files / "allowed.txt").write_text("\n", encoding="utf-8")
    generate(script, files, *GREEDY, "--allowed_tokens_path", files / "allowed.txt", code=2)
    assert "names no token; write one a line" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": ("mlm",), "tie_weights": False}, "--target is mlm, which is no language model"),
        ({"mask": "fully_visible"}, "--mask is fully_visible: every token sees those that come later"),
    ],
)
def test_models_that_cannot_generate(script, files, capsys, changes, message):
    known = {name: value for name, value in CASE["config"].items() if name in ModelConfig.names()}
    tokenizer = build_tokenizer("char", vocab_path=files / "vocab.txt")
    config = ModelConfig(**{**known, **changes})
    write_state(files / "other.bin", STATE, config=config, tokenizer=tokenizer)
    generate(script, files, model="other.bin", code=2)
    assert message in capsys.readouterr().err
