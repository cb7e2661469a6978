"""scripts/generate_seq2seq.py: UER's own text from both dialects of flags, many sources, bad input."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.loading import load_script
from uer.checkpoints import write_state
from uer.cli import run
from uer.config.model import ModelConfig
from uer.generation.text import prompt_ids, with_sentinels
from uer.tokenizers import build_tokenizer

ROOT = Path(__file__).resolve().parents[2]
CASE = json.loads((ROOT / "tests/golden/uer-tasks/generate_seq2seq_t5.json").read_text(encoding="utf-8"))
TENSORS = load_file(ROOT / "tests/golden/uer-tasks/generate_seq2seq_t5.safetensors")
STATE = {name.removeprefix("state."): x for name, x in TENSORS.items() if name.startswith("state.")}
GREEDY = ["--top_k", "1", "--seq_length", "32", "--tgt_seq_length", "13"]
FLAGS_2021 = shlex.split(
    "--embedding word --relative_position_embedding --remove_embedding_layernorm --tgt_embedding word "
    "--encoder transformer --mask fully_visible --layernorm_positioning pre --target t5 "
    "--decoder transformer --tie_weights --remove_attention_scale --layernorm t5 --remove_transformer_bias"
)


@pytest.fixture(scope="module")
def script():
    return load_script("scripts/generate_seq2seq.py")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(CASE["vocab"]) + "\n", encoding="utf-8")
    tokenizer = build_tokenizer("char", vocab_path=tmp_path / "vocab.txt")
    known = {name: value for name, value in CASE["config"].items() if name in ModelConfig.names()}
    torch.save(STATE, tmp_path / "old.bin")
    write_state(tmp_path / "new.bin", STATE, config=ModelConfig(**known), tokenizer=tokenizer)
    sizes = {name: value for name, value in known.items() if isinstance(value, int) and value is not True}
    (tmp_path / "sizes.json").write_text(json.dumps({**sizes, "hidden_act": "relu", "share_embedding": True}))
    (tmp_path / "config.json").write_text(json.dumps(CASE["config"]))
    (tmp_path / "source.txt").write_text(CASE["prompt_text"] + "\n", encoding="utf-8")
    return tmp_path


def generate(script, files, *argv, model="new.bin", source="source.txt", out="out.txt", code=0):
    words = ["--load_model_path", str(files / model), "--test_path", str(files / source)]
    words += ["--prediction_path", str(files / out), *map(str, argv)]
    assert run(script.main, words) == code
    return (files / out).read_text(encoding="utf-8") if (files / out).exists() else None


def test_uers_own_text_with_the_companion_alone(script, files):
    assert generate(script, files, *GREEDY) == CASE["written"]


@pytest.mark.parametrize("argv", [["sizes.json", *FLAGS_2021], ["config.json"]])
def test_uers_own_text_from_flags_of_both_generations(script, files, argv):
    argv = ["--config_path", files / argv[0], *argv[1:], "--vocab_path", files / "vocab.txt"]
    argv += ["--tokenizer", "char"]
    assert generate(script, files, *argv, *GREEDY, model="old.bin") == CASE["written"]


def test_many_sources_in_a_batch(script, files):
    lines = [CASE["prompt_text"], CASE["prompt_text"][:2], CASE["prompt_text"][3:]]
    (files / "many.txt").write_text("\n".join(lines), encoding="utf-8")
    together = generate(script, files, *GREEDY, source="many.txt").split("\n\n")
    assert together[0] == CASE["written"] and len(together) == 3
    for number, line in enumerate(lines):
        (files / f"{number}.txt").write_text(line, encoding="utf-8")
        assert (
            generate(script, files, *GREEDY, source=f"{number}.txt", out=f"{number}.out") == together[number]
        )


def test_a_target_vocabulary_of_its_own(script, files):
    """The same ids under other words."""
    words = [*CASE["vocab"][:5], *(chr(0x3400 + n) for n in range(len(CASE["vocab"]) - 5))]
    (files / "tgt.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    argv = [
        "--config_path",
        files / "config.json",
        "--vocab_path",
        files / "vocab.txt",
        "--tokenizer",
        "char",
    ]
    argv += ["--tgt_vocab_path", files / "tgt.txt", "--tgt_tokenizer", "char", *GREEDY]
    ids = TENSORS["out.ids"][0].tolist()
    expected = CASE["prompt_text"] + "\n" + "".join(words[number] for number in ids)
    assert generate(script, files, *argv, model="old.bin") == expected


TEXTS = [
    "文笔<extra_id_0>，结尾 <extra_id_11>值得<extra_id_1>",
    "<extra_id_0><extra_id_0>",
    "a <extra_id_200>",
]


@pytest.mark.parametrize("text", TEXTS)
def test_blanks_are_cut_as_transformers_cuts_them(text):
    from transformers import BertTokenizer

    path = ROOT / "models" / "zh_en_vocab.txt"
    blanks = [f"<extra_id_{number}>" for number in range(100)]
    theirs = BertTokenizer(str(path), extra_special_tokens=blanks)(text, add_special_tokens=False)
    ours = build_tokenizer("bert", vocab_path=path)
    assert with_sentinels(ours, text) == theirs["input_ids"]
    framed = [ours.cls_id, *theirs["input_ids"], ours.sep_id]
    assert prompt_ids(ours, text, separated=True, blanks=True) == framed


def test_blanks_of_sentencepiece_are_left_to_it(shared):
    """The model of UER's T5 knows its blanks by itself."""
    ours = build_tokenizer("bert", spm_model_path=shared / "data" / "models" / "cluecorpussmall_spm.model")
    text = "今天<extra_id_0>很好"
    assert with_sentinels(ours, text) == ours.encode(text)


def test_the_stream_shows_what_is_written(script, files, capsys):
    assert capsys.readouterr().out == "" and sys.stdout is not None
    written = generate(script, files, *GREEDY, "--stream")
    assert capsys.readouterr().out == written + "\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--seq_length", "10"],
            "source.txt:1: the prompt has 11 tokens, --seq_length 10 counts them too; raise",
        ),
        (["--decoder", "none"], "--decoder is None"),
    ],
)
def test_bad_input_is_one_line(script, files, capsys, argv, message):
    generate(script, files, *argv, code=2)
    assert message in capsys.readouterr().err


def test_a_model_without_decoder(script, files, capsys):
    config = ModelConfig(
        emb_size=32,
        hidden_size=32,
        feedforward_size=64,
        heads_num=4,
        layers_num=2,
        mask="causal",
        target=("lm",),
    )
    tokenizer = build_tokenizer("char", vocab_path=files / "vocab.txt")
    write_state(files / "lm.bin", STATE, config=config, tokenizer=tokenizer)
    generate(script, files, model="lm.bin", code=2)
    assert "the model has no --decoder; generate_lm.py continues texts" in capsys.readouterr().err


def test_continuing_with_an_encoder_decoder(files, load_script, capsys):
    generate(load_script("scripts/generate_lm.py"), files, code=2)
    assert "the model has a --decoder; generate_seq2seq.py writes" in capsys.readouterr().err
