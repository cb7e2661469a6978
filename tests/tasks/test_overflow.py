"""Rows longer than a model reads: what windows hold, how they are pooled, what each task does with them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.scripts import LETTERS, SPECIAL, TINY, Folder
from tests.tasks.test_pairs import dual
from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.errors import ConfigError, DataError
from uer.models.initialize import initialize
from uer.tasks.c3 import C3Task
from uer.tasks.choice import ChoiceModel
from uer.tasks.classifier import ClassifierModel, ClassifierTask
from uer.tasks.dbqa import DbqaTask
from uer.tasks.labels import LabelMap
from uer.tasks.multi_label import MultiLabelModel, MultiLabelTask
from uer.tasks.overflow import LongRows
from uer.tasks.predict import evaluate, in_order, of_rows
from uer.tasks.prompt import Prompt, PromptModel, PromptTask
from uer.tasks.regression import RegressionModel, RegressionTask
from uer.tasks.rows import in_windows
from uer.tasks.siamese import SiameseModel, SiameseTask
from uer.tasks.simcse import SimcseModel, SimcseTask
from uer.tokenizers import build_tokenizer
from uer.training.precision import Precision

CONFIG = ModelConfig.pick({**TINY, "pooling": "mean"})
FP32 = Precision("fp32")
TWO, THREE = LabelMap.numbered(2), LabelMap.numbered(3)


@pytest.fixture
def letters(tmp_path):
    path = tmp_path / "letters.txt"
    path.write_text("\n".join(SPECIAL + LETTERS))
    return build_tokenizer("char", vocab_path=path)


def ragged(lengths, start=0):
    """Rows of numbers that all differ."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(start, start + offsets[-1]), offsets


LENGTHS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6)


@given(LENGTHS, st.integers(2, 12), st.booleans())
def test_windows_hold_every_id_in_its_order(lengths, room, paired):
    texts = [ragged([row[0] for row in lengths]), ragged([row[1] for row in lengths], 1000)][: 1 + paired]
    of, found = in_windows(texts, room)
    of = np.arange(len(lengths)) if of is None else of
    assert (np.diff(of) >= 0).all() and set(of.tolist()) == set(range(len(lengths)))
    sizes = sum(np.diff(offsets) for _, offsets in found)
    assert (sizes <= room).all()
    for (values, offsets), (ours, places) in zip(texts, found):
        for row in range(len(lengths)):
            whole = values[offsets[row] : offsets[row + 1]].tolist()
            windows = [ours[places[w] : places[w + 1]].tolist() for w in np.flatnonzero(of == row)]
            assert sorted({x for part in windows for x in part}) == whole
            assert all(part == list(range(part[0], part[0] + len(part))) for part in windows if part)
    fits = [sum(row[: 1 + paired]) <= room for row in lengths]
    assert [(of == row).sum() == 1 for row in range(len(lengths))] == fits
    for row in np.flatnonzero(~np.array(fits)):  # the windows of a row are equally long: batches keep them
        assert len(set(sizes[of == row].tolist())) == 1


def test_no_room_for_a_window(letters):
    task = ClassifierTask(letters, TWO, seq_length=2, overflow="window")
    with pytest.raises(ConfigError, match="--seq_length leaves no room for texts in a window"):
        task.encode([{"text_a": "abc"}])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 3), st.randoms())
def test_rows_are_the_means_of_their_windows(counts, batch_size, rng):
    of = np.repeat(np.arange(len(counts)), counts)
    values = np.random.default_rng(1).normal(size=(len(of), 2)).astype(np.float32)
    order = list(range(len(of)))
    rng.shuffle(order)

    def stream():
        for start in range(0, len(order), batch_size):
            ids = np.array(order[start : start + batch_size])
            yield Batch({}, {"cls": of[ids] * 10}, {}, ids), values[ids]

    seen = {}
    for batch, means in of_rows(stream(), of):
        assert batch.labels["cls"].tolist() == (batch.ids * 10).tolist()
        seen.update(zip(batch.ids.tolist(), means))
    assert sorted(seen) == list(range(len(counts)))
    for row, mean in seen.items():
        np.testing.assert_allclose(mean, values[of == row].mean(axis=0), rtol=1e-5, atol=1e-6)


def model_of(build, *args, **settings):
    torch.manual_seed(3)
    model = build(*args, **settings)
    initialize(model)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return model.eval()


def small(labels_num):
    return CONFIG.replace(labels_num=labels_num)


def predictions(model, task, rows, compute=None, batch_size=2):
    settings = {"batch_size": batch_size, "precision": FP32, "compute": compute}
    return in_order(model, task, task.encode(rows), **settings)


SINGLE = [{"text_a": "abc"}, {"text_a": "abcdefghijklm"}, {"text_a": "zyxwv"}]
PARTS = [["abc"], ["abcdef", "efghij", "hijklm"], ["zyxwv"]]  # windows of 6 letters
PAIR = [{"text_a": "ab", "text_b": "c"}, {"text_a": "ab", "text_b": "cdefghij"}]


@pytest.mark.parametrize(
    "task_class, build",
    [
        (
            lambda *a, **s: ClassifierTask(*a, THREE, **s),
            lambda: ClassifierModel.build(small(3), 31),
        ),
        (
            lambda *a, **s: MultiLabelTask(*a, THREE, **s),
            lambda: MultiLabelModel.build(small(3), 31),
        ),
        (lambda *a, **s: DbqaTask(*a, TWO, **s), lambda: ClassifierModel.build(small(2), 31)),
        (RegressionTask, lambda: RegressionModel.build(CONFIG, 31)),
    ],
)
def test_what_windows_give_is_pooled(letters, task_class, build):
    model = model_of(build)
    task = task_class(letters, seq_length=8, overflow="window")
    cut = task_class(letters, seq_length=8)
    ours = predictions(model, task, SINGLE)
    for row, parts in enumerate(PARTS):
        alone = predictions(model, cut, [{"text_a": part} for part in parts])
        np.testing.assert_allclose(ours[row], alone.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert not np.allclose(ours, predictions(model, cut, SINGLE), atol=1e-4)
    np.testing.assert_allclose(ours, predictions(model, task, SINGLE, batch_size=5), rtol=1e-5, atol=1e-6)
    # of a pair the longer text is cut into windows, the shorter one stands in all of them
    ours = predictions(model, task, PAIR)
    examples = task.encode(PAIR)
    assert examples.of.tolist() == [0, 1, 1, 1, 1]
    texts = [
        "".join(letters.vocab.tokens[i] for i in part)
        for part in np.split(examples.ids, examples.offsets[1:-1])
    ]
    assert texts == ["[CLS]ab[SEP]c[SEP]", *(f"[CLS]ab[SEP]{b}[SEP]" for b in ("cde", "efg", "ghi", "hij"))]


def test_a_prompt_stands_in_every_window(letters):
    prompt = Prompt("p", "[TEXT_A]x[ANS]", {"0": "a", "1": "b"}, letters)
    task, cut = (PromptTask(letters, prompt, seq_length=10, overflow=how) for how in ("window", "truncate"))
    config = CONFIG.replace(target=("mlm",))
    model = model_of(PromptModel.build, config, 31, prompt.answers)
    ours = predictions(model, task, SINGLE)
    for row, parts in enumerate(PARTS):
        alone = predictions(model, cut, [{"text_a": part} for part in parts])
        np.testing.assert_allclose(ours[row], alone.mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", ["siamese", "simcse"])
def test_pairs_of_windows(letters, tmp_path, make):
    rows = [{"text_a": "abcdefghijklm", "text_b": "zy"}, {"text_a": "a", "text_b": "b"}]
    pairs = [[("abcdef", "zy"), ("efghij", "zy"), ("hijklm", "zy")], [("a", "b")]]
    if make == "siamese":
        config = ModelConfig.from_json(json.loads(Path(dual(Folder(tmp_path))).read_text()), "dual.json")
        model = model_of(SiameseModel.build, config.replace(labels_num=2), 31)
        task, cut = (SiameseTask(letters, TWO, seq_length=8, overflow=how) for how in ("window", "truncate"))
    else:
        model = model_of(SimcseModel.build, CONFIG, 31)
        task, cut = (SimcseTask(letters, seq_length=8, overflow=how) for how in ("window", "truncate"))
    for compute in (model.predict, model.stacked):
        ours = predictions(model, task, rows, compute)
        for row, parts in enumerate(pairs):
            alone = predictions(model, cut, [{"text_a": a, "text_b": b} for a, b in parts], compute)
            np.testing.assert_allclose(ours[row], alone.mean(axis=0), rtol=1e-5, atol=1e-6)
    both = task.encode([{"text_a": "abcdefghijklm", "text_b": "nopqrstu"}])  # three windows and two
    tokens = letters.vocab.tokens
    read = [
        ["".join(tokens[i] for i in part) for part in np.split(x.ids, x.offsets[1:-1])] for x in both.texts
    ]
    assert [re.sub(r"\[\w+\]", "", text) for text in read[1]] == ["nopqrs", "nopqrs", "pqrstu"]
    alone = task.encode([{"text_a": "abcdefghijklm"}])
    assert alone.texts[0] is alone.texts[1] and alone.of.tolist() == [0, 0, 0]


def test_a_question_is_read_in_windows_of_its_passage(letters, tmp_path):
    def task(how):
        return C3Task(letters, seq_length=12, choices_num=4, overflow=how)

    def read(passage, how, question="q", choices=("a", "bc")):
        document = [[[passage], [{"question": question, "choice": list(choices), "answer": choices[1]}], "1"]]
        path = tmp_path / "c3.json"
        path.write_text(
            json.dumps([*document, [["m"], [{"question": "q", "choice": list("abc"), "answer": "a"}], "2"]])
        )
        return task(how).read(path, training=True)

    model = model_of(ChoiceModel.build, CONFIG, 31)
    long = read("defghijklm", "window")  # 5 letters have room beside the longest choice
    assert long.of.tolist() == [0, 0, 0, 1] and long.gold.tolist() == [1, 1, 1, 0] and long.rows_num == 2
    settings = {"batch_size": 1, "precision": FP32}
    ours = in_order(model, task("window"), long, **settings)
    alone = [
        in_order(model, task("truncate"), read(x, "truncate"), **settings)[0]
        for x in ("defgh", "ghijk", "ijklm")
    ]
    np.testing.assert_allclose(ours[0], np.mean(alone, axis=0), rtol=1e-5, atol=1e-6)
    assert evaluate(model, task("window"), long, **settings).total == 2
    cut = read(
        "defghijklm", "window", question="q" * 9
    )  # no room for the passage, so there is nothing to window
    assert cut.of is None and cut.long.tolist() == [True, False]


def test_scores_are_of_rows(letters, tmp_path):
    rows = [["0", "abcdefghijklmnop"], ["1", "b"], ["1", "zyxwvutsrqponm"]]
    path = Folder(tmp_path).table("t.tsv", ["label", "text_a"], rows)
    task = ClassifierTask(letters, TWO, seq_length=8, overflow="window", class_weights=True)
    examples = task.read(path, training=True)
    assert len(examples) > examples.rows_num == 3
    assert examples.labels["cls"].tolist() == np.array([0, 1, 1])[examples.of].tolist()
    assert set(examples.labels["weight"][examples.of == 0].tolist()) == {1.5}
    model = model_of(ClassifierModel.build, small(2), 31)
    metric = evaluate(model, task, task.read(path), batch_size=2, precision=FP32)
    expected = predictions(model, task, [{"text_a": row[1]} for row in rows]).argmax(axis=1)
    assert metric.confusion.total == 3
    assert metric.scores()["acc"] == pytest.approx(np.mean(expected == [0, 1, 1]))
    part = examples.take_whole(np.array([0, 2]))
    assert (
        part.rows_num == 2
        and part.of.tolist() == [0] * (examples.of == 0).sum() + [1] * (examples.of == 2).sum()
    )


def test_groups_are_of_rows(letters, tmp_path):
    rows = [["q", 0, "a", "b" * 20], ["q", 1, "a", "c" * 20], ["r", 1, "d", "e"], ["r", 0, "d", "f" * 9]]
    path = Folder(tmp_path).table("t.tsv", ["qid", "label", "text_a", "text_b"], rows)
    task = DbqaTask(letters, TWO, seq_length=10, overflow="window")
    model = model_of(ClassifierModel.build, small(2), 31)
    logits = predictions(model, task, [{"text_a": a, "text_b": b} for _, _, a, b in rows])[:, 1]
    expected = np.mean([1.0 if logits[1] > logits[0] else 0.5, 1.0 if logits[2] > logits[3] else 0.5])
    scores = evaluate(model, task, task.read(path), batch_size=3, precision=FP32).scores()
    assert scores["mrr"] == pytest.approx(expected)


def test_counts_over_chunks(letters, caplog):
    task = ClassifierTask(letters, TWO, seq_length=8, overflow="window")
    seen = LongRows()
    for chunk in (SINGLE, [{"text_a": "a"}]):
        seen.add(task.encode(chunk))
    seen.warn("rows.tsv", 8)
    assert caplog.messages == [
        "rows.tsv: 1 of 4 rows are longer than --seq_length 8 tokens; they are read in 3 windows."
    ]


def test_texts_that_are_written_have_no_windows(letters):
    from uer.tasks.text2text import Text2textTask

    with pytest.raises(
        ConfigError, match="--overflow window: the windows of a source would each want the whole"
    ):
        Text2textTask(letters, seq_length=8, tgt_seq_length=4, overflow="window")


@pytest.mark.parametrize("how", ["drop", "error"])
def test_other_ways_in_every_task(letters, tmp_path, how, caplog):
    folder = Folder(tmp_path)
    tables = {
        "text": folder.table("a.tsv", ["label", "text_a"], [[1, "a"], [0, "a" * 20], [1, "b"]]),
        "pair": folder.table(
            "b.tsv", ["label", "text_a", "text_b"], [[1, "a", "b"], [0, "a", "b" * 20], [1, "b", "c"]]
        ),
        "asked": folder.table(
            "c.tsv", ["qid", "label", "text_a"], [["q", 1, "a"], ["q", 0, "a" * 20], ["r", 1, "b"]]
        ),
    }
    prompt = Prompt("p", "[TEXT_A]x[ANS]", {"0": "a", "1": "b"}, letters)
    common = {"seq_length": 8, "overflow": how}
    tasks = [
        (ClassifierTask(letters, TWO, **common), "text"),
        (ClassifierTask(letters, TWO, **common), "pair"),
        (MultiLabelTask(letters, TWO, **common), "text"),
        (RegressionTask(letters, **common), "pair"),
        (PromptTask(letters, prompt, **common), "text"),
        (SiameseTask(letters, TWO, **common), "pair"),
        (SimcseTask(letters, **common), "pair"),
        (DbqaTask(letters, TWO, **common), "asked"),
    ]
    for task, name in tasks:
        caplog.clear()
        if how == "drop":
            assert len(task.read(tables[name], training=True)) == 2
            assert "1 of 3 rows are longer than --seq_length 8 tokens; they were left out." in caplog.text
        else:
            with pytest.raises(
                DataError, match=r"tsv:3: the row is too long \(1 of 3 rows are longer than --seq"
            ):
                task.read(tables[name], training=True)
        assert task.read(tables[name]).rows_num == 3  # what is scored is never left out
