"""What the commands of tasks leave: checks for README and for the pages of docs/tasks."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np

TYPED = r"""python3() { printf '%s\0' "$@" $'\n'; }"""
"""a shell in which `python3` says what was typed behind it, each word and each command with its end"""


def typed_commands(blocks: list[str], **environment: str) -> list[list[str]]:
    """The words behind each `python3` in blocks of a page, in order, as a shell reads them that stands in the
    current folder; what the blocks write without Python they write.
    """
    shell = "\n".join([TYPED, *(block for block in blocks if "python3" in block)])
    told = {"capture_output": True, "text": True, "check": False, "env": {**os.environ, **environment}}
    said = subprocess.run(["bash", "-c", shell], **told).stdout
    return [command.removesuffix("\0").split("\0") for command in said.split("\n\0")[:-1]]


def value(words: list[str], flag: str) -> str:
    """The value of a flag in a command."""
    return words[words.index(flag) + 1]


def check_model(words: list[str]) -> None:
    """The model says what task it is of, and its page shows what the best evaluation gave."""
    from uer.checkpoints import read_companion

    path = Path(value(words, "--output_model_path"))
    assert read_companion(path).extra["task"]
    results = json.loads((path.with_name(f"{path.name}.run") / "results.json").read_text(encoding="utf-8"))
    assert results["Development, the best evaluation"]["scores"]


def check_rows(words: list[str]) -> None:
    """A row of predictions for each row of the input, in a table."""
    asked, given = (
        Path(value(words, flag)).read_text(encoding="utf-8").splitlines()
        for flag in ("--test_path", "--prediction_path")
    )
    assert len(asked) == len(given) > 1


def check_pairs(words: list[str]) -> None:
    """Labels and vectors of each pair."""
    check_rows(words)
    rows = Path(value(words, "--test_path")).read_text(encoding="utf-8").splitlines()[1:]
    vectors = np.load(value(words, "--vectors_path"))
    assert vectors.shape[:2] == (len(rows), 2) and np.isfinite(vectors).all()


def check_json(words: list[str]) -> None:
    """Answers, all in one object or one a line."""
    text = Path(value(words, "--prediction_path")).read_text(encoding="utf-8")
    found = json.loads(text) if text.startswith("{\n") else [json.loads(line) for line in text.splitlines()]
    assert len(found) > 1


TRAINED = (
    *("run_classifier_prompt", "run_classifier_siamese", "run_classifier_multi_label", "run_classifier_mt"),
    *("run_regression", "run_simcse", "run_ner", "run_cmrc", "run_uie", "run_c3", "run_chid", "run_dbqa"),
    "run_text2text",
)
PREDICTED = {
    "run_classifier_prompt_infer": check_rows,
    "run_classifier_multi_label_infer": check_rows,
    "run_classifier_siamese_infer": check_pairs,
    "run_classifier_mt_infer": check_rows,
    "run_regression_infer": check_rows,
    "run_simcse_infer": check_pairs,
    "run_ner_infer": check_rows,
    "run_text2text_infer": check_rows,
    "run_cmrc_infer": check_json,
    "run_uie_infer": check_json,
    "run_c3_infer": check_json,
    "run_chid_infer": check_json,
}
IN_README = {
    **{f"finetune/{name}.py": check_model for name in TRAINED},
    **{f"inference/{name}.py": check for name, check in PREDICTED.items()},
}
"""the commands that both READMEs have"""
