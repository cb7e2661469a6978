"""A faulty file of any task, in training and in prediction: one line with file and place, and exit 2."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.tasks.every import prepare, with_test
from tests.tasks.scripts import Folder, script, words
from uer.cli import run

Fault = tuple[Callable[[str], str | bytes], str]
"""good text → faulty one, and what is said of it"""


def line(number: int, new: str) -> Callable[[str], str]:
    """A line (from 1) in place of another one."""

    def change(text: str) -> str:
        lines = text.split("\n")
        lines[number - 1] = new
        return "\n".join(lines)

    return change


def inside(*way: Any, to: Any = None, lines: bool = False) -> Callable[[str], str]:
    """A value of a document (`lines`: of lines of documents) becomes another; None: is removed."""

    def change(text: str) -> str:
        whole = [json.loads(one) for one in text.splitlines()] if lines else json.loads(text)
        *before, last = way
        at = whole
        for key in before:
            at = at[key]
        if to is None:
            del at[last]
        else:
            at[last] = to
        return "".join(json.dumps(one) + "\n" for one in whole) if lines else json.dumps(whole)

    return change


def encoded(text: str) -> bytes:
    """The second half is GBK."""
    half = text.index("\n") + 1 if "\n" in text.rstrip("\n") else len(text) // 2
    return text[:half].encode() + "中文".encode("gbk") + text[half:].encode()


TABLE: list[Fault] = [
    (lambda text: "", r"faulty\.tsv: the file is empty"),
    (lambda text: text.split("\n", 1)[0] + "\n", r"faulty\.tsv: there is no row under the header"),
    (
        lambda text: text.split("\n", 1)[1],
        r"faulty\.tsv:1: (the first line must name|the column 'text_a' is)",
    ),
    (encoded, r"faulty\.tsv:2: byte 0xd6 at offset \d+ is not UTF-8"),
]
DOCUMENT: list[Fault] = [
    (lambda text: "", r"faulty\.tsv: the file is empty"),
    (lambda text: text[:-1], r"faulty\.tsv:1: is not valid JSON"),
    (lambda text: "null", r"faulty\.tsv: the document: must be an? (object|list), and is null"),
    (encoded, r"faulty\.tsv:1: byte 0xd6 at offset \d+ is not UTF-8"),
]
LINES: list[Fault] = [
    (lambda text: "", r"faulty\.tsv: there is no (row|question) in the file"),
    (line(2, "{"), r"faulty\.tsv:2: is not valid JSON"),
    (line(2, "[]"), r"faulty\.tsv:2: the document: must be an object, and is \[\]"),
    (encoded, r"faulty\.tsv:2: byte 0xd6 at offset \d+ is not UTF-8"),
]
ASKED = ("data", 0, "paragraphs", 2)
PLACE = r"data\[0\]\.paragraphs\[2\]"
OTHERS = {"run_cmrc": DOCUMENT, "run_c3": DOCUMENT, "run_chid": LINES, "run_uie": LINES}
LABELLED: dict[str, list[Fault]] = {
    "run_classifier": [(line(3, "7\ta b"), r":3: the label '7' is not among")],
    "run_classifier_multi_label": [(line(3, "z\ta b"), r":3: the label 'z' is not among")],
    "run_classifier_prompt": [(line(3, "7\ta b"), r":3: the label '7' is not among")],
    "run_classifier_siamese": [(line(3, "7\ta\tb"), r":3: the label '7' is not among")],
    "run_simcse": [(line(3, "x\ta"), r":3: the row has 2 of 3 columns")],
    "run_regression": [(line(3, "x\ta b"), r":3: the column 'label' holds 'x', which is no finite number")],
    "run_ner": [
        (line(3, "a b c\tO O"), r":3: the row has 3 words and 2 tags"),
        (line(3, "a b\tO B-Z"), r":3: the label 'B-Z' is not among"),
    ],
    "run_cmrc": [
        (inside(*ASKED, "context"), rf": {PLACE}: the key 'context' is missing"),
        (inside(*ASKED, "qas", to={}), rf": {PLACE}\.qas: must be a list, and is {{}}"),
        (
            inside(*ASKED, "qas", 0, "answers", 0, "text", to="zz"),
            rf": {PLACE}\.qas\[0\]\.answers: none of the answers \('zz'\) is in the context",
        ),
        (
            inside(*ASKED, "qas", 0, "answers", 0, "answer_start", to="1"),
            rf": {PLACE}\.qas\[0\]\.answers\[0\]\.answer_start: must be a whole number",
        ),
    ],
    "run_c3": [
        (inside(2, 1, 0, "choice"), r": \[2\]\[1\]\[0\]: the key 'choice' is missing"),
        (inside(2, 1, 0, "choice", to=["a"]), r": \[2\]\[1\]\[0\]\.choice: the list has 1 entries"),
        (inside(2, 1, 0, "choice", to=list("abcdef")), r": \[2\]\[1\]\[0\]\.choice: there are 6 choices"),
        (inside(2, 1, 0, "answer", to="z"), r": \[2\]\[1\]\[0\]\.answer: 'z' is none of the choices: a, b"),
    ],
    "run_chid": [
        (inside(2, "candidates", lines=True), r":3: the document: the key 'candidates' is missing"),
        (inside(2, "candidates", to=["ab"], lines=True), r":3: candidates: the list has 1 entries"),
        (inside(2, "content", to=["ab"], lines=True), r":3: content\[0\]: has no blank"),
    ],
    "run_dbqa": [(line(3, "0\t2\tq\ta"), r":3: the label (is )?'2'")],
    "run_text2text": [(line(3, "a"), r":3: the row has 1 of 2 columns")],
    "run_uie": [
        (inside(2, "prompt", lines=True), r":3: the document: the key 'prompt' is missing"),
        (
            inside(2, "result_list", 0, "text", to="zz", lines=True),
            r":3: result_list\[0\]: 'zz' is not at 1 to 2",
        ),
        (inside(2, "result_list", 0, "end", to=99, lines=True), r":3: result_list\[0\]: is no stretch"),
    ],
}
TWINS = {"run_dbqa": "run_classifier"}
DISTINCT_LABELS = (
    "run_classifier",
    "run_classifier_multi_label",
    "run_classifier_siamese",
    "run_ner",
)
"""scripts that take the labels of the training file as they are, so a strange one there is no fault"""


def refused(name: str, flags: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script ends with 2, and its one line of error says so."""
    capsys.readouterr()
    assert run(script(name).main, words(**flags)) == 2, (name, message)
    said = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error:")]
    assert len(said) == 1 and re.search(message, said[0]), (message, said)


@pytest.mark.parametrize("name", LABELLED)
def test_every_faulty_file_is_refused_in_one_line(tmp_path, name, capsys):
    folder = Folder(tmp_path)
    common = {"vocab_path": folder.vocab, "config_path": folder.config, "precision": "fp32"}
    files = {"train_path": folder / "rows.tsv", "dev_path": folder / "rows.tsv"}
    flags = {**common, **files, "output_model_path": folder / "model.bin", **prepare(name, folder)}
    assert run(script(f"finetune/{name}").main, words(**flags)) == 0
    good = (tmp_path / "rows.tsv").read_text(encoding="utf-8")
    out = "vectors_path" if name == "run_simcse" else "prediction_path"
    predict = {"load_model_path": folder / "model.bin", out: folder / "out.npy"}
    flags |= {"output_model_path": folder / "none.bin"}
    faulty, path = tmp_path / "faulty.tsv", folder / "faulty.tsv"

    def write(change: Callable[[str], str | bytes]) -> None:
        text = change(good)
        faulty.write_bytes(text if isinstance(text, bytes) else text.encode())

    for change, message in OTHERS.get(name, TABLE):
        write(change)
        refused(f"finetune/{name}", {**flags, "train_path": path}, message, capsys)
        refused(f"inference/{TWINS.get(name, name)}_infer", {**predict, "test_path": path}, message, capsys)
    for change, message in LABELLED[name]:
        write(change)
        if not (name in DISTINCT_LABELS and "not among" in message):
            refused(f"finetune/{name}", {**flags, "train_path": path}, message, capsys)
        refused(f"finetune/{name}", {**flags, "dev_path": path}, message, capsys)
        tested = {**flags, **with_test(name, folder), "test_path": path}
        refused(f"finetune/{name}", tested, message, capsys)
    assert not (tmp_path / "none.bin").exists() and not (tmp_path / "out.npy").exists()
