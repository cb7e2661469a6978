"""`--overflow` in every fine-tuning script: what is counted and said, what is trained on, what is scored."""

from __future__ import annotations

import re

import pytest

from tests.tasks.every import EVERY, TEXTS, prepare
from tests.tasks.scripts import Folder, finetune
from uer.config.finetune import OVERFLOWS
from uer.errors import ConfigError, DataError
from uer.tasks import cross_validation, search
from uer.tasks.finetune import Finetuning

LONG = " ".join("abcdefghijklmnopqrstuvwxyz"[:24])
ROWS = r"1 of 6 rows are longer than --seq_length 12 tokens"
QUESTIONS = ROWS.replace("rows", "questions")
ASKED = r"1 of 6 questions have a text longer than --seq_length 12"
TEXTS_OF_PROMPTS = r"1 of 6 texts are longer than --seq_length 12 leaves room"
OF_ROWS = {
    "truncate": f"{ROWS}; they were cut on the right",
    "window": ROWS + r"; they are read in [2-9] windows\.",
    "drop": f"{ROWS}; they were left out",
    "error": rf"\.tsv:7: the row is too long \({ROWS}\)",
}
NO_WINDOWS = "--overflow window: "
SAID: dict[str, dict[str, str]] = {
    **dict.fromkeys(EVERY, OF_ROWS),
    "run_ner": OF_ROWS
    | {
        "truncate": f"{ROWS}; they were cut, so their last words",
        "window": f"{ROWS}; they are read in windows",
    },
    "run_cmrc": {
        "truncate": f"{ASKED}; only its beginning is read",
        "window": f"{ASKED}; it is read in windows",
        "drop": f"{ASKED}; they were left out",
        "error": rf"rows.tsv: data\[0\]\.paragraphs\[5\]\.qas\[0\]: the text is too long \({ASKED}\)",
    },
    "run_c3": {
        "truncate": f"{QUESTIONS}; they were cut on the right",
        "window": QUESTIONS + r"; they are read in [2-9] windows\.",
        "drop": f"{QUESTIONS}; they were left out",
        "error": rf"rows.tsv: \[5\]\[1\]\[0\]: is too long \({QUESTIONS}\)",
    },
    "run_chid": {
        "truncate": f"{QUESTIONS}; only the text around their blanks is read",
        "window": f"{NO_WINDOWS}what is read is already the stretch of text around each blank",
        "drop": f"{QUESTIONS}; they were left out",
        "error": rf"rows.tsv:6: the document: is too long \({QUESTIONS}\)",
    },
    "run_uie": {
        "truncate": f"{TEXTS_OF_PROMPTS}; only their beginnings are read",
        "window": f"{TEXTS_OF_PROMPTS}; they are read in windows",
        "drop": f"{TEXTS_OF_PROMPTS}; they were left out",
        "error": rf"rows.tsv:6: the document: the text is too long \({TEXTS_OF_PROMPTS}\)",
    },
    "run_simcse": OF_ROWS | {"window": f"{NO_WINDOWS}the texts of a batch are each other's opposites"},
    "run_text2text": OF_ROWS | {"window": f"{NO_WINDOWS}the windows of a source would each want the whole"},
    "run_classifier_cv": OF_ROWS | {"drop": "--overflow drop would leave rows without features"},
}
"""script → way → what it says: an error, or a line of the log"""


def refused(name: str, how: str) -> type[Exception] | None:
    """The error that a script ends with."""
    if how == "error":
        return DataError
    return ConfigError if SAID[name][how].startswith(("--overflow", NO_WINDOWS)) else None


@pytest.fixture
def read(monkeypatch):
    """(rows to train on, rows that are scored) of scripts that stop there; a window counts as a row."""
    found = []

    def fit(self, train, dev):
        parts = dev if isinstance(dev, list) else [dev]
        found.append((self.count(train), sum(part.rows_num for part in parts if hasattr(part, "rows_num"))))

    def attempts(common, plans, train, dev):
        fit(common, train, dev)

    def cross_validate(finetuning, rows):
        found.append((len(rows), rows.rows_num))
        raise KeyboardInterrupt

    monkeypatch.setattr(Finetuning, "fit", fit)
    monkeypatch.setattr(search, "attempts", attempts)
    monkeypatch.setattr(search, "search", lambda *_: None)
    monkeypatch.setattr(cross_validation, "cross_validate", cross_validate)
    return found


@pytest.mark.parametrize("how", OVERFLOWS)
@pytest.mark.parametrize("name", EVERY)
def test_long_rows(tmp_path, capsys, read, name, how):
    folder = Folder(tmp_path)
    flags = prepare(name, folder, [*TEXTS[:5], LONG]) | {"seq_length": 12, "overflow": how}
    error, said = refused(name, how), SAID[name][how]
    if error is not None:
        with pytest.raises(error, match=said):
            finetune(name, folder, **flags)
        assert not read
        return
    try:
        finetune(name, folder, **flags)
    except KeyboardInterrupt:  # cross validation stops so
        assert name == "run_classifier_cv"
    files = {"run_classifier_mt": 2}.get(name, 1)
    lines = re.findall(said, capsys.readouterr().err)
    assert len(lines) == files * (2 if how in ("truncate", "window") and name != "run_classifier_cv" else 1)
    ((trained, scored),) = read
    if how == "window":
        assert trained >= 7 * files
    else:
        assert trained == files * (5 if how == "drop" else 6)
    assert scored == files * 6 or (name in ("run_ner", "run_cmrc", "run_uie") and scored >= 6)
