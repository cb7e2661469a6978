"""Multiple choice: UER-py's numbers, Hugging Face's, faulty documents, and the scripts of C3 and ChID."""

import json
import random

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import LETTERS, SPECIAL, TINY, Folder, finetune, infer
from uer.checkpoints import load_into, read_companion
from uer.errors import ConfigError, DataError
from uer.tasks.body import task_body
from uer.tasks.c3 import C3Task
from uer.tasks.chid import Blank, ChidTask, fill
from uer.tasks.choice import ABSENT, ChoiceModel
from uer.tokenizers import build_tokenizer

TAG = "#idiom{:06d}#".format


def c3_task(golden, **settings):
    return C3Task(golden.tokenizer(), **{"seq_length": 24, "choices_num": 4, **settings})


def grid(golden):
    """UER's inputs, every choice there."""
    src, seg = golden["in.src"], golden["in.seg"]
    return {"src": src, "seg": seg, "choice": torch.ones(src.shape[:2], dtype=torch.int64)}


@pytest.mark.parametrize("case", ["c3", "chid"])
def test_logits_and_loss_are_uers(shared, tmp_path, case):
    golden = Golden(shared, case, tmp_path)
    model, inputs = golden.load(ChoiceModel(task_body(golden.config(), 120))), grid(golden)
    # UER hides all of ChID's positions by the same number, which hides none and rounds the scores
    exact = case == "c3"
    close(model.logits(inputs), golden["out.logits" if exact else "out.logits_nothing_masked"])
    term = model(inputs, {"choice": golden["in.tgt"]})["choice"]
    close(term.loss_sum / term.count, golden["out.loss"], 2e-6 if exact else 5e-3)
    assert int(term.count) == len(golden["in.tgt"])


def check_rows(golden, task, examples, but=()):
    """Ids are UER's in the rows of the choices that are there, `but` some questions; returns the batch and
    which they are.
    """
    batch = task.collate(examples, np.arange(len(examples)))
    there = batch.inputs["choice"] > 0
    assert not batch.inputs["seg"][~there].any()
    assert batch.labels["choice"].tolist() == golden["in.tgt"].tolist()
    width = batch.inputs["src"].shape[2]
    for number in set(range(len(examples))) - set(but):
        ours, theirs = (x[number][: there.shape[1]] for x in (batch.inputs["src"], golden["in.src"].numpy()))
        ours, theirs = ours[there[number]], theirs[there[number]]
        assert (ours == theirs[:, :width]).all() and not theirs[:, width:].any()
    return batch, there


def test_c3_is_read_as_uer_reads_it(shared, tmp_path):
    golden = Golden(shared, "c3", tmp_path)
    path = tmp_path / "c3.json"
    path.write_text(json.dumps(golden.facts["c3"]))
    task = c3_task(golden)
    batch, there = check_rows(golden, task, task.read(path, training=True))
    assert there.sum(axis=1).tolist() == [4, 3, 3, 2]
    seg = golden["in.seg"].numpy()[there][:, : batch.inputs["seg"].shape[2]]
    assert (batch.inputs["seg"][there] == seg).all()
    model = golden.load(ChoiceModel(task_body(golden.config(), 120)))
    logits = model.predict(tensors(batch.inputs))
    close(logits[torch.from_numpy(there)], golden["out.logits"][torch.from_numpy(there)])
    assert (logits[torch.from_numpy(~there)] == ABSENT).all()


def test_chid_is_read_as_uer_reads_it(shared, tmp_path):
    golden = Golden(shared, "chid", tmp_path)
    path, answers = tmp_path / "chid.jsonl", tmp_path / "answers.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in golden.facts["chid"]))
    answers.write_text(json.dumps(golden.facts["answers"]))
    task = ChidTask(golden.tokenizer(), seq_length=20, choices_num=10)
    # UER loses the text on the left of the fifth blank: a slice begins below 0 there
    examples = task.read_with_answers(path, answers, training=True)
    batch, there = check_rows(golden, task, examples, but=[4])
    row = [golden.facts["vocab"][number] for number in batch.inputs["src"][4, 0]]
    content = golden.facts["chid"][1]["content"][0]
    left, right = content.split(TAG(4))
    assert row[6:18] == [*left.split(TAG(3))[0], "[MASK]", *left.split(TAG(3))[1], "[SEP]", right[0]]
    assert there.sum(axis=1).tolist() == [10] * 3 + [7] * 3
    assert ((batch.inputs["seg"] > 0) == (batch.inputs["src"] > 0)).all()


def test_the_head_is_that_of_transformers(tmp_path):
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=31, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    theirs = transformers.BertForMultipleChoice(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = ChoiceModel.build(read_companion(tmp_path).config, 31).eval()
    load_into(ours, tmp_path)
    src = torch.randint(5, 31, (2, 3, 7))
    kinds = torch.tensor([0, 0, 0, 1, 1, 1, 1]).expand(2, 3, 7)
    inputs = {"src": src, "seg": kinds + 1, "choice": torch.ones(2, 3, dtype=torch.int64)}
    gold = torch.tensor([2, 0])
    out = theirs(input_ids=src, token_type_ids=kinds, labels=gold)
    close(ours.logits(inputs), out.logits)
    term = ours(inputs, {"choice": gold})["choice"]
    close(term.loss_sum / term.count, out.loss)


def document(question, passage=("a b",)):
    return [[list(passage), [question], "7"]]


QUESTION = {"question": "q", "choice": ["a", "b"], "answer": "b"}


@pytest.fixture
def letters(tmp_path):
    (tmp_path / "v.txt").write_text("\n".join(SPECIAL + LETTERS))
    return build_tokenizer("char", vocab_path=tmp_path / "v.txt")


def without(key):
    return {name: value for name, value in QUESTION.items() if name != key}


@pytest.mark.parametrize(
    "value, message",
    [
        ({}, "the document: must be a list, and is {}"),
        ([], "there is no question in the file"),
        ([[["a"]]], r"\[0\]: the list has 1 entries; 2 are needed at least"),
        ([[["a", 1], [QUESTION]]], r"\[0\]\[0\]\[1\]: must be a string, and is 1"),
        ([["a", [QUESTION]]], r'\[0\]\[0\]: must be a list, and is "a"'),
        (
            document(without("choice")),
            r"\[0\]\[1\]\[0\]: the key 'choice' is missing; there are: question, an",
        ),
        (document(without("answer")), r"\[0\]\[1\]\[0\]: the key 'answer' is missing"),
        (document(without("question")), r"\[0\]\[1\]\[0\]: the key 'question' is missing"),
        (document({**QUESTION, "answer": "c"}), r"\[1\]\[0\].answer: 'c' is none of the choices: a, b\."),
        (document({**QUESTION, "choice": ["a"]}), r"\[1\]\[0\].choice: the list has 1 entries; 2 are"),
        (
            document({**QUESTION, "choice": list("abc")}),
            "there are 3 choices, and --max_choices_num is 2; raise",
        ),
        (document({**QUESTION, "choice": ["a", None]}), r"choice\[1\]: must be a string, and is null"),
        (document({**QUESTION, "id": True}), r"\[0\]\.id: must be a whole number, and is true"),
        (document({**QUESTION, "question": "\ud800"}), "question: holds half of a surrogate pair"),
    ],
)
def test_faulty_documents(tmp_path, letters, value, message):
    path = tmp_path / "c3.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match="c3.json: .*" + message):
        C3Task(letters, seq_length=16, choices_num=2).read(path)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"[1,\n}", r"c3.json:2: is not valid JSON: .* at column 1"),
        (b"\n\xff", r"c3.json:2: byte 0xff at offset 1 is not UTF-8"),
        (b"[" * 100_000, r"c3.json:1: is not valid JSON: brackets lie too deep in one another"),
        (b"[" + b"7" * 5000 + b"]", r"c3.json:1: is not valid JSON: an integer has thousands of digits"),
        (b'[["a', r"c3.json:1: is not valid JSON: Unterminated string starting at column 3\.$"),
        (b"", r"c3.json: the file is empty; it must hold a JSON document\.$"),
    ],
)
def test_files_that_are_no_json(tmp_path, letters, data, message):
    (tmp_path / "c3.json").write_bytes(data)
    with pytest.raises(DataError, match=message):
        C3Task(letters, seq_length=16, choices_num=2).read(tmp_path / "c3.json")


def test_questions_that_are_too_long(tmp_path, letters, caplog):
    path = tmp_path / "c3.json"
    path.write_text(json.dumps([*document(QUESTION), *document(QUESTION, ["abcdefghijkl"])]))

    def read(how, **settings):
        task = C3Task(letters, **{"seq_length": 12, "choices_num": 2, "overflow": how, **settings})
        return task.read(path, training=True)

    assert read("truncate").lengths.tolist() == [9, 12]
    assert "1 of 2 questions are longer than --seq_length 12 tokens; they were cut" in caplog.text
    assert read("drop").lengths.tolist() == [9] and "they were left out" in caplog.text
    with pytest.raises(DataError, match=r"c3.json: \[1\]\[1\]\[0\]: is too long \(1 of 2 questions"):
        read("error")
    with pytest.raises(DataError, match="every question is too long"):
        read("drop", seq_length=5)


def test_questions_without_an_id_are_called_by_document_and_number(tmp_path, letters):
    whole = [*document(QUESTION), [["a"], [QUESTION, {**QUESTION, "id": "own"}]], [["a"], [QUESTION], None]]
    (tmp_path / "c3.json").write_text(json.dumps(whole))
    questions = C3Task(letters, seq_length=16, choices_num=2).questions(tmp_path / "c3.json", answered=True)
    assert [question.id for question in questions] == ["7-0", "1-0", "own", "2-0"]


def test_a_row_without_room_for_text_is_refused(letters):
    with pytest.raises(
        ConfigError, match="--seq_length 7 has no room for an idiom and the text around its blank"
    ):
        ChidTask(letters, seq_length=7, choices_num=2)


CHID = {"candidates": ["a", "b"], "content": [f"x{TAG(1)}y"]}


@pytest.mark.parametrize(
    "lines, answers, message",
    [
        ([{"content": []}], {}, "chid.jsonl:1: the document: the key 'candidates' is missing"),
        ([CHID, {**CHID, "content": ["no blank"]}], {}, r"chid.jsonl:2: content\[0\]: has no blank, as in"),
        ([CHID, CHID], {}, f"chid.jsonl:2: the document: the blank {TAG(1)} stands in the file twice"),
        ([CHID], {}, f"answers.json: the document: the key '{TAG(1)}' is missing; there are: none"),
        ([CHID], {TAG(1): 2}, rf"answers.json: {TAG(1)}: is 2, but the blank has the candidates 0 … 1 \("),
        ([CHID], {TAG(1): "0"}, f'answers.json: {TAG(1)}: must be a whole number, and is "0"'),
        ([CHID], {TAG(1): True}, f"answers.json: {TAG(1)}: must be a whole number, and is true"),
        ([], {}, "there is no question in the file"),
    ],
)
def test_faulty_lines(tmp_path, letters, lines, answers, message):
    path = tmp_path / "chid.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    with pytest.raises(DataError, match=message):
        ChidTask(letters, seq_length=16, choices_num=2).read_with_answers(path, tmp_path / "answers.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "", TAG(1), "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["question", "choice", "answer", "id", "candidates", "content"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=JSON | st.lists(st.tuples(st.lists(JSON, max_size=2), st.lists(JSON, max_size=2)), max_size=2))
def test_any_json_is_read_or_refused(tmp_path_factory, value):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    (folder / "v.txt").write_text("\n".join(SPECIAL + LETTERS))
    tokenizer = build_tokenizer("char", vocab_path=folder / "v.txt")
    path = folder / "any.json"
    path.write_text(json.dumps(value) + "\n")
    for read in (
        lambda: C3Task(tokenizer, seq_length=8, choices_num=4).read(path),
        lambda: ChidTask(tokenizer, seq_length=8, choices_num=4).read_with_answers(path, path),
    ):
        try:
            assert len(read()) > 0
        except DataError as error:
            assert "any.json" in str(error)


def test_a_candidate_is_used_once_a_line():
    from uer.data.documents import Node

    one, other = Node({}, "f", 1), Node({}, "f", 2)
    blanks = [Blank(TAG(n), [], 1, ["a", "b", "c"], one) for n in (1, 2)]
    blanks.append(Blank(TAG(3), [], 1, ["a", "b", "c"], other))
    logits = np.array([[2.0, 1, 0], [3, 2, 1], [3, 2, 1]], np.float32)
    assert fill(blanks, logits) == {TAG(1): 1, TAG(2): 0, TAG(3): 0}
    more = [Blank(TAG(n), [], 1, ["a", "b"], one) for n in (1, 2, 3)]
    logits = np.array([[5.0, 4, ABSENT], [3, 3, ABSENT], [1, 2, ABSENT]], np.float32)
    assert fill(more, logits) == {TAG(1): 0, TAG(2): 1, TAG(3): 1}


def c3_rows(rng, count):
    """Generated questions: the right choice stands in the passage."""
    documents = []
    for number in range(count):
        choices = rng.sample([a + b for a in LETTERS[:8] for b in LETTERS[8:16]], rng.randint(2, 4))
        right = rng.choice(choices)
        question = {"question": "xyz", "choice": choices, "answer": right}
        if number % 2:
            question["id"] = f"Q{number}"
        documents.append([[f"{rng.choice('uvw')} {right}", "zz"], [question], str(number)])
    return documents


def two_layers(folder):
    """A config with what it takes to compare a choice with its passage: one layer alone stops at 0.92."""
    return folder.write("two_layers.json", json.dumps({**TINY, "layers_num": 2, "feedforward_size": 128}))


def test_64_questions_of_c3_are_memorised(tmp_path, capsys):
    folder, documents = Folder(tmp_path), c3_rows(random.Random(5), 64)
    rows = folder.write("rows.json", json.dumps(documents))
    finetune(
        "run_c3",
        folder,
        "rows.json",
        test_path=rows,
        tokenizer="char",
        epochs_num=60,
        learning_rate=2e-3,
        adam_bias_correction=True,
        config_path=two_layers(folder),
        batch_size=8,
        seq_length=20,
    )
    assert "Label 3: " in capsys.readouterr().err
    assert read_companion(folder / "model.bin").extra["task"] == "c3"
    infer("run_c3", folder, "rows.json")
    assert "The number of prediction instances:  64" in capsys.readouterr().out
    predicted = [json.loads(line) for line in (tmp_path / "out.tsv").read_text().splitlines()]
    gold = [q["choice"].index(q["answer"]) for _, (q,), _ in documents]
    assert [x["id"] for x in predicted[:3]] == ["0-0", "Q1", "2-0"]
    assert np.mean([x["label"] == y for x, y in zip(predicted, gold)]) >= 0.95
    infer("run_c3", folder, "rows.json", prediction_path="-")
    assert capsys.readouterr().out.splitlines() == (tmp_path / "out.tsv").read_text().splitlines()
    with pytest.raises(DataError, match="--max_choices_num is 3"):
        infer("run_c3", folder, "rows.json", max_choices_num=3)


def test_64_blanks_of_chid_are_memorised(tmp_path, capsys):
    folder, rng = Folder(tmp_path), random.Random(6)
    lines, answers = [], {}
    for number in range(32):
        idioms = ["".join(rng.choices(LETTERS[:10], k=4)) for _ in range(rng.randint(2, 4))]
        content = []
        for blank, right in zip((TAG(2 * number), TAG(2 * number + 1)), rng.sample(range(len(idioms)), 2)):
            answers[blank] = right
            content.append(f"{rng.choice('uvwxyz')}{idioms[right][:2]}{blank}{idioms[right][2:]}")
        lines.append({"candidates": idioms, "content": content})
    rows = folder.write("rows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    gold = folder.write("gold.json", json.dumps(answers))
    files = {"train_answer_path": gold, "dev_answer_path": gold}
    settings = {"epochs_num": 60, "batch_size": 8, "seq_length": 24, "learning_rate": 2e-3}
    settings |= {"adam_bias_correction": True, "config_path": two_layers(folder)}
    finetune("run_chid", folder, "rows.jsonl", test_path=rows, test_answer_path=gold, **files, **settings)
    infer("run_chid", folder, "rows.jsonl")
    predicted = json.loads((tmp_path / "out.tsv").read_text())
    assert list(predicted) == list(answers)
    assert np.mean([predicted[tag] == answers[tag] for tag in answers]) >= 0.95
    with pytest.raises(ConfigError, match="--test_path and --test_answer_path belong together"):
        finetune("run_chid", folder, "rows.jsonl", test_path=rows, **files, **settings)
    stretch = "--overflow window: what is read is already the stretch of text around each blank"
    with pytest.raises(ConfigError, match=stretch):
        finetune("run_chid", folder, "rows.jsonl", overflow="window", **files, **settings)
