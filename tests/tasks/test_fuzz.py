"""Whatever stands in a file, a task reads it or refuses it in one line that names the file."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tasks.scripts import LETTERS, SPECIAL
from uer.errors import DataError
from uer.tasks.c3 import C3Task
from uer.tasks.chid import ChidTask
from uer.tasks.classifier import ClassifierTask, read_labels
from uer.tasks.dbqa import DbqaTask, question_labels
from uer.tasks.extractive_qa import QaTask
from uer.tasks.multi_label import MultiLabelTask, read_label_sets
from uer.tasks.ner import NerTask, read_label2id, read_tags
from uer.tasks.prompt import Prompt, PromptTask
from uer.tasks.regression import RegressionTask
from uer.tasks.siamese import SiameseTask, read_scale
from uer.tasks.simcse import SimcseTask
from uer.tasks.table import read_chunks
from uer.tasks.text2text import Text2textTask
from uer.tokenizers import build_tokenizer

COMMON = {"seq_length": 8}
FILES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "v.txt"
    path.write_text("\n".join(SPECIAL + LETTERS))
    return build_tokenizer("bert", vocab_path=path)


# each: tokenizer, file → the task, made as its script makes it
TABLES = {
    "classifier": lambda cut, path: ClassifierTask(cut, read_labels(path), **COMMON),
    "classifier_windows": lambda cut, path: ClassifierTask(
        cut, read_labels(path), overflow="window", **COMMON
    ),
    "soft": lambda cut, path: ClassifierTask(cut, read_labels(path), soft_targets=True, **COMMON),
    "dbqa": lambda cut, path: DbqaTask(cut, question_labels(path, read_labels(path)), **COMMON),
    "multi_label": lambda cut, path: MultiLabelTask(cut, read_label_sets(path), **COMMON),
    "regression": lambda cut, path: RegressionTask(cut, **COMMON),
    "siamese": lambda cut, path: SiameseTask(cut, read_labels(path), **COMMON),
    "siamese_cosine": lambda cut, path: SiameseTask(cut, None, scale=read_scale(path), **COMMON),
    "simcse": lambda cut, path: SimcseTask(cut, **COMMON),
    "ner": lambda cut, path: NerTask(cut, read_tags(path, None), **COMMON),
    "ner_windows": lambda cut, path: NerTask(cut, read_tags(path, None), overflow="window", **COMMON),
    "prompt": lambda cut, path: PromptTask(
        cut, Prompt("p", "[TEXT_A][ANS]", {"0": "a", "1": "b"}, cut), **COMMON
    ),
    "text2text": lambda cut, path: Text2textTask(cut, tgt_seq_length=4, **COMMON),
}
CELLS = [
    "",
    " ",
    "0",
    "1",
    "1",
    "-1",
    "2.5",
    "nan",
    "1e999",
    "x",
    "x,y",
    ",",
    "O B-X",
    "a b",
    "a  b ",
    "好" * 20,
]
CELLS += ["\x00", "\ufeff", "\u3000", "[MASK]", '"', "a" * 300, "0.1 0.2", "\r", "\x85\u2028"]
COLUMNS = ["label", "text_a", "text_b", "qid", "logits", "prefix", "id"]
HEADERS = st.permutations(COLUMNS).flatmap(
    lambda names: st.integers(1, len(names)).map(lambda count: names[:count])
)


LABELS = {"ner": ["O B-X", "B-X O"], "ner_windows": ["O B-X", "O O"], "regression": ["1", "2.5", "0"]}
LABELS |= {"siamese_cosine": ["1", "0.5"], "multi_label": ["x", "x,y", ""], "siamese": ["x", "y"]}
GOOD = {"logits": ["0.1 0.2", "1 -2"], "qid": ["q", "r"]}


@st.composite
def tables(draw, name):
    """A table, more often than not a good one for a task, as bytes."""
    odd, good = draw(st.booleans()), {"label": LABELS.get(name, ["0", "1"]), **GOOD}
    header = draw(HEADERS if odd else st.permutations(COLUMNS))
    cells = [st.sampled_from(CELLS if odd else good.get(name, ["a b", "b a", "c d"])) for name in header]
    rows = draw(st.lists(st.tuples(*cells), min_size=0 if odd else 3, max_size=6))
    if odd:
        rows = [row[: draw(st.integers(0, len(header)))] if draw(st.booleans()) else row for row in rows]
    text = "\n".join("\t".join(row) for row in [header, *rows]) + draw(st.sampled_from(["", "\n", "\r\n"]))
    return text.encode() + (draw(st.sampled_from([b"", b"\xff", b"\n\n"])) if odd else b"")


def read_all(task, examples):
    """All that training and prediction do with encoded rows before the model sees them."""
    assert examples.rows_num if hasattr(examples, "rows_num") else len(examples)
    batch = task.collate(examples, np.arange(len(examples)))
    for values in batch.inputs.values():
        assert values.dtype == np.int64 and values.min(initial=0) >= 0


@pytest.mark.parametrize("name", TABLES)
@FILES
@given(data=st.data())
def test_any_table_is_read_or_refused(letters, tmp_path, name, data):
    path, content = tmp_path / "any.tsv", data.draw(tables(name) | st.binary(max_size=40))
    path.write_bytes(content)
    task = None
    try:
        task = TABLES[name](letters, str(path))
        read_all(task, task.read(str(path), training=True))
        read_all(task, task.read(str(path)))
    except DataError as error:
        assert "any.tsv" in str(error) and "\n" not in str(error)
    if task is None:
        return
    pair = ("text_b",)
    required = ("text_a", *pair) if name.startswith("siamese") else ("text_a",)
    try:
        for rows in read_chunks(
            str(path), required, () if name in ("prompt", "ner", "ner_windows") else pair
        ):
            read_all(task, task.encode(rows))
    except DataError as error:
        assert "any.tsv" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("name", TABLES)
def test_good_tables_are_read(letters, tmp_path, name):
    """What is drawn is not always refused: rows of the good cells alone are read."""
    good = {"label": LABELS.get(name, ["0", "1"]), **GOOD}
    rows = [[good.get(column, ["a b", "b a"])[i % 2] for column in COLUMNS] for i in range(4)]
    path = tmp_path / "any.tsv"
    path.write_text("\n".join("\t".join(row) for row in [COLUMNS, *rows]) + "\n")
    task = TABLES[name](letters, str(path))
    examples = task.read(str(path), training=True)
    read_all(task, examples)
    assert examples.rows_num == 4


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "a", "ab", "#idiom000001#"])
)
KEYS = [
    "data",
    "paragraphs",
    "context",
    "qas",
    "id",
    "question",
    "answers",
    "text",
    "answer_start",
    "is_impossible",
]
KEYS += ["choice", "answer", "candidates", "content"]
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=14,
)
DOCUMENTS = {
    "c3": lambda cut, path: C3Task(cut, choices_num=4, **COMMON).read(path),
    "c3_windows": lambda cut, path: C3Task(cut, choices_num=4, overflow="window", **COMMON).read(path),
    "chid": lambda cut, path: ChidTask(cut, choices_num=4, **COMMON).read_with_answers(path, path),
    "cmrc": lambda cut, path: QaTask(cut, doc_stride=2, **COMMON).read(path, training=True),
    "label2id": lambda cut, path: read_label2id(path).names,
}


@pytest.mark.parametrize("name", DOCUMENTS)
@FILES
@given(content=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_any_document_is_read_or_refused(letters, tmp_path, name, content):
    path = tmp_path / "any.json"
    path.write_bytes(content)
    try:
        assert len(DOCUMENTS[name](letters, str(path))) > 0
    except DataError as error:
        assert "any.json" in str(error) and "\n" not in str(error)
