"""Every fine-tuning script with small files in its format, for tests of what all of them share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.tasks.scripts import TINY, Folder
from tests.tasks.test_choice import TAG
from tests.tasks.test_pairs import dual

Writer = Callable[[Folder, list[str]], dict[str, Any]]
"""writes `rows.tsv`, a row for each text (letters, blanks between), and says what flags the script needs"""
TEXTS = ["a b c d", "c d e f g", "e f g", "g h i j", "b c d e f", "d c b a"]


def nothing(folder: Folder) -> dict[str, Any]:
    """No further flags."""
    return {}


def tables(
    columns: list[str],
    cells: Callable[[int, str], list],
    needs: Callable[[Folder], dict[str, Any]] = nothing,
) -> Writer:
    """A table; `cells` makes a row of its number and text."""

    def write(folder: Folder, texts: list[str]) -> dict[str, Any]:
        folder.table("rows.tsv", columns, [cells(number, text) for number, text in enumerate(texts)])
        return needs(folder)

    return write


def prompts(folder: Folder) -> dict[str, Any]:
    """A template of one blank."""
    content = {"mine": {"template": "[TEXT_A][ANS]", "answer_words": {"0": "a", "1": "b"}}}
    return {"prompt_path": folder.write("p.json", json.dumps(content)), "prompt_id": "mine"}


def decoder(folder: Folder) -> dict[str, Any]:
    """A model that writes."""
    extra = {"decoder": "transformer", "tgt_embedding": ["word", "pos"], "embedding": ["word", "pos"]}
    config = json.dumps({**TINY, **extra, "tie_weights": True, "share_embedding": True})
    return {"config_path": folder.write("d.json", config), "tgt_seq_length": 6}


def cross_validation(folder: Folder) -> dict[str, Any]:
    """Two folds."""
    return {"dev_path": None, "train_features_path": folder / "features.npy", "folds_num": 2}


def one_trial(folder: Folder) -> dict[str, Any]:
    """A grid of one setting."""
    return {"learning_rate_list": [3e-3], "batch_size_list": [4], "epochs_num_list": [2]}


def several(folder: Folder, texts: list[str]) -> dict[str, Any]:
    """Two data sets with the same rows."""
    LABELLED(folder, texts)
    for name in ("one", "two"):
        (folder.path / name).mkdir(exist_ok=True)
        for part in ("train", "dev"):
            (folder.path / name / f"{part}.tsv").write_bytes((folder.path / "rows.tsv").read_bytes())
    sets = [folder / "one", folder / "two"]
    return {"train_path": None, "dev_path": None, "dataset_path_list": sets}


def tags(text: str) -> str:
    """A tag a word: the second one is a place."""
    return " ".join("B-X" if number == 1 else "O" for number, _ in enumerate(text.split()))


def questions(folder: Folder, texts: list[str]) -> dict[str, Any]:
    """Questions about texts, answered by their third letter."""
    asked = []
    for number, text in enumerate(text.replace(" ", "") for text in texts):
        answer = {"text": text[2], "answer_start": 2}
        asked.append({"context": text, "qas": [{"id": f"Q{number}", "question": "q", "answers": [answer]}]})
    folder.write("rows.tsv", json.dumps({"data": [{"paragraphs": asked}]}))
    return {"doc_stride": 4}


def choices(folder: Folder, texts: list[str]) -> dict[str, Any]:
    """A question a document."""
    asked = ({"question": "q", "choice": ["a", "b"], "answer": "ab"[n % 2]} for n in range(len(texts)))
    documents = [[[text.replace(" ", "")], [question], "x"] for text, question in zip(texts, asked)]
    folder.write("rows.tsv", json.dumps(documents))
    return {"tokenizer": "char"}


def idioms(folder: Folder, texts: list[str]) -> dict[str, Any]:
    """A blank a text."""
    lines = [
        {"candidates": ["ab", "cd"], "content": [f"{text.replace(' ', '')}{TAG(number)}"]}
        for number, text in enumerate(texts)
    ]
    folder.write("rows.tsv", "".join(json.dumps(line) + "\n" for line in lines))
    gold = folder.write("gold.json", json.dumps({TAG(n): n % 2 for n in range(len(texts))}))
    return {"train_answer_path": gold, "dev_answer_path": gold}


def extraction(folder: Folder, texts: list[str]) -> dict[str, Any]:
    """A prompt a text, answered by its second letter."""
    rows = []
    for text in (text.replace(" ", "") for text in texts):
        found = {"text": text[1], "start": 1, "end": 2}
        rows.append({"content": text, "prompt": "p", "result_list": [found]})
    folder.write("rows.tsv", "".join(json.dumps(row) + "\n" for row in rows))
    return {"tokenizer": "char"}


LABELLED = tables(["label", "text_a"], lambda number, text: [number % 2, text])


def labelled(needs: Callable[[Folder], dict[str, Any]] = nothing) -> Writer:
    """Texts with one of two labels."""
    return tables(["label", "text_a"], lambda number, text: [number % 2, text], needs)


def paired(needs: Callable[[Folder], dict[str, Any]] = nothing) -> Writer:
    """Pairs with one of two labels."""
    columns = ["label", "text_a", "text_b"]
    return tables(columns, lambda number, text: [number % 2, text, "x y z"[: 1 + 2 * (number % 3)]], needs)


EVERY: dict[str, Writer] = {
    "run_classifier": LABELLED,
    "run_classifier_cv": labelled(cross_validation),
    "run_classifier_grid": labelled(one_trial),
    "run_classifier_mt": several,
    "run_classifier_multi_label": tables(
        ["label", "text_a"], lambda number, text: [["x", "x,y", ""][number % 3], text]
    ),
    "run_classifier_prompt": labelled(prompts),
    "run_classifier_siamese": paired(lambda folder: {"config_path": dual(folder)}),
    "run_simcse": paired(),
    "run_regression": tables(["label", "text_a"], lambda number, text: [number / 8, text]),
    "run_ner": tables(["text_a", "label"], lambda number, text: [text, tags(text)]),
    "run_cmrc": questions,
    "run_c3": choices,
    "run_chid": idioms,
    "run_dbqa": tables(
        ["qid", "label", "text_a", "text_b"],
        lambda number, text: [number // 3, int(number % 3 == 1), "q", text],
    ),
    "run_text2text": labelled(decoder),
    "run_uie": extraction,
}
"""the scripts of `finetune/`; `run_classifier_deepspeed` is `run_classifier` with a flag"""
ONE_MODEL = [name for name in EVERY if name not in ("run_classifier_cv", "run_classifier_grid")]
"""those that train one model and choose the best of its evaluations"""


def prepare(name: str, folder: Folder, texts: list[str] = TEXTS) -> dict[str, Any]:
    """Write the files of a script; the flags of `tests.tasks.scripts.finetune` that it needs."""
    return {"epochs_num": 1, "batch_size": 4, "seq_length": 16, **EVERY[name](folder, texts)}


def with_test(name: str, folder: Folder) -> dict[str, Any]:
    """The flags that make its rows the test file too; none where a script has no test."""
    if name in ("run_classifier_mt", "run_classifier_cv"):
        return {}
    more = {"test_answer_path": folder / "gold.json"} if name == "run_chid" else {}
    return {"test_path": folder / "rows.tsv", **more}
