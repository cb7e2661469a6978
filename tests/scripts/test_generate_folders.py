"""Texts of Hugging Face folders: tokens that are bytes or pieces become text, on screen and in the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.checkpoints.folders import make
from uer.cli import run

PROMPTS = "我喜欢这本书 the good\nbad\n"
# family → class, script, what shortens the run
FOLDERS = {
    "gpt2": ("LMHeadModel", "generate_lm", ["--seq_length", "60"]),
    "t5": ("ForConditionalGeneration", "generate_seq2seq", ["--tgt_seq_length", "24"]),
    "bart": ("ForConditionalGeneration", "generate_seq2seq", ["--tgt_seq_length", "30"]),
}


@pytest.mark.parametrize("family", FOLDERS)
def test_tokens_become_text(family, tmp_path, load_script, capsys):
    from transformers import AutoTokenizer

    head, script, lengths = FOLDERS[family]
    config = make(family, head, tmp_path / "model").config
    Path("prompts.txt").write_text(PROMPTS, encoding="utf-8")
    flags = ["--load_model_path", "model", "--test_path", "prompts.txt", "--top_k", "0", "--seed", "5"]
    main = load_script(f"scripts/{script}.py").main
    capsys.readouterr()
    assert run(main, [*flags, *lengths, "--prediction_path", "o.txt", "--stream"]) == 0
    written = Path("o.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().out == written + "\n"
    as_json = ["--prediction_path", "o.jsonl", "--output_format", "jsonl"]
    assert run(main, [*flags, *lengths, *as_json]) == 0
    theirs, blocks = AutoTokenizer.from_pretrained("model"), []
    for line in Path("o.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        # T5's table has rows behind the last token, which stand for nothing.
        new = theirs.convert_tokens_to_ids([token for token in row["tokens"] if token])
        assert len(set(new)) > 5
        before = (
            theirs(row["prompt"])["input_ids"] if head == "LMHeadModel" else [config.decoder_start_token_id]
        )
        text = theirs.decode([*before, *new], clean_up_tokenization_spaces=False)
        blocks.append(f"{row['prompt']}\n{text}")
    assert written == "\n\n".join(blocks)
