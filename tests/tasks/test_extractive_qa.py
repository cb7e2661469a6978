"""Questions about texts: UER-py's numbers, Hugging Face's, windows, faulty documents, and the scripts."""

import json
import random

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.golden import Golden, close, tensors
from tests.tasks.scripts import LETTERS, SPECIAL, Folder, finetune, infer
from uer.checkpoints import load_into, read_companion
from uer.errors import ConfigError, DataError
from uer.tasks.body import task_body
from uer.tasks.extractive_qa import QaModel, QaTask
from uer.tasks.predict import evaluate
from uer.tasks.qa_files import read_queries
from uer.tasks.spans import Answer, AnswerCollector, Spans, best_spans
from uer.tokenizers import build_tokenizer
from uer.training.precision import Precision


@pytest.fixture
def golden(shared, tmp_path):
    golden = Golden(shared, "cmrc", tmp_path)
    (tmp_path / "squad.json").write_text(json.dumps(golden.facts["squad"]))
    return golden


def task_of(golden, **settings):
    return QaTask(golden.tokenizer(), **{"seq_length": 28, "doc_stride": 10, **settings})


def test_windows_logits_and_loss_are_uers(golden, tmp_path):
    task = task_of(golden)
    examples = task.read(tmp_path / "squad.json", training=True)
    batch = task.collate(examples, np.arange(9))
    inputs, labels = tensors(batch.inputs), tensors(batch.labels)
    width = inputs["src"].shape[1]
    assert torch.equal(inputs["src"], golden["in.src"][:, :width]) and not golden["in.src"][:, width:].any()
    assert torch.equal(inputs["seg"], golden["in.seg"][:, :width])
    for name in ("start", "end"):
        assert torch.equal(labels[name], golden[f"in.{name}_position"])
    windows = golden.facts["windows"]
    assert (labels["begin"] - 2).tolist() == [window["question_length"] for window in windows]
    assert (labels["shift"] + labels["begin"]).tolist() == [window["start_offset"] for window in windows]
    model = golden.load(QaModel(task_body(golden.config(), 120)))
    logits, real = model.predict(inputs), inputs["seg"] > 0
    for number, name in enumerate(("start", "end")):
        close(logits[..., number][real], golden[f"out.{name}_logits"][:, :width][real])
    # UER lets padding compete for start and end
    positions = torch.arange(28).expand(9, 28)
    padded = {"src": golden["in.src"], "seg": golden["in.seg"], "pos": positions}
    term = model(padded, labels, layout=None)["qa"]
    close(term.loss_sum / term.count, golden["out.loss"], 2e-6)


def test_answers_are_at_least_as_good_as_uers(shared, tmp_path):
    golden = Golden(shared, "metric_cmrc", tmp_path)
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(golden.facts["squad"]))
    task = task_of(golden, metric_kind="uer", max_answer_length=28)
    examples = task.read(path)
    assert len(examples) == len(golden["in.src"])
    logits = torch.stack([golden["in.start_logits"], golden["in.end_logits"]], dim=2).numpy()
    metric = task.metric(count=3)
    for rows in np.array_split(np.random.default_rng(1).permutation(len(examples)), 5):
        batch = task.collate(examples, rows)
        task.score(metric, logits[rows], batch, examples)
    same = 0
    for number, predicted in enumerate(golden.facts["predictions"]):
        best, chosen = metric.answers(number)[0], int(golden["out.pred_span"][number])
        place = (examples.queries[number].id, chosen)
        window = next(w for w in golden.facts["windows"] if (w["question_id"], w["span_index"]) == place)
        room = min(25 - window["question_length"], len(examples.places[number]) - window["start_offset"])
        if int(golden["out.pred_end"][number]) >= window["start_offset"] + room:
            continue  # UER's answers may end in [SEP] or in padding
        assert best.score >= float(golden["out.pred_score"][number]) - 1e-6
        if best.score <= float(golden["out.pred_score"][number]) + 1e-6:
            same += 1
            span = (int(golden["out.pred_start"][number]), int(golden["out.pred_end"][number]))
            assert (best.start, best.end) == span
            # UER leaves out answers of one character
            assert predicted["text"] in (None, examples.text(number, best))
        listed = metric.listed(number)
        assert len(listed) == 3 and listed[0]["score"] >= listed[1]["score"] >= listed[2]["score"]
    assert same >= 4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 4))
def test_best_spans_by_trying_all(seed, longest, count):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, 7, 2))
    begin, stop = np.array([2, 3]), np.array([6, 4])
    found = best_spans(logits, begin, stop, longest=longest, count=count)
    for row in range(2):
        chances = np.exp(logits[row]) / np.exp(logits[row]).sum(axis=0)
        every = sorted(
            (
                (chances[s, 0] + chances[e, 1], s, e)
                for s in range(begin[row], stop[row])
                for e in range(s, min(stop[row], s + longest))
            ),
            reverse=True,
        )[:count]
        assert found.null[row] == pytest.approx(chances[0].sum())
        for (score, start, end), ours in zip(every, zip(*(x[row] for x in found[:3]))):
            assert ours == (pytest.approx(score), start, end)
        assert np.isneginf(found.score[row][len(every) :]).all()


def spans(score, start, end, null):
    return Spans(*(np.array([x]) for x in (score, start, end)), np.array([null]))


def test_no_answer_is_decided_by_the_threshold():
    def answers(threshold):
        collector = AnswerCollector(count=2, threshold=threshold)
        texts = {-1: "", 7: "x", 8: "y"}
        collector.bind([["x"]], lambda number, answer: texts[answer.start])
        collector.update(np.array([0]), np.array([5]), spans([0.9, 0.1], [2, 3], [2, 4], 1.6))
        collector.update(np.array([0]), np.array([0]), spans([0.8, -np.inf], [7, 0], [7, 0], 1.4))
        return collector

    assert answers(None).answers(0) == [Answer(0.9, 7, 7), Answer(0.1, 8, 9)]
    assert answers(0.4).answers(0)[0] == Answer(1.4, -1, -1)
    assert answers(0.6).answers(0)[:2] == [Answer(0.9, 7, 7), Answer(1.4, -1, -1)]
    assert answers(0.6).scores()["em"] == 100 and answers(0.4).report() == [
        "Avg: 0.0000,F1:0.0000,EM:0.0000,Total:1,Skip:1"
    ]


def test_the_best_answers_are_different_texts(tmp_path):
    """An answer that stands in the text several times is listed once, with its best score and place."""
    (tmp_path / "v.txt").write_text("\n".join(SPECIAL + LETTERS))
    path = write(tmp_path / "q.json", squad("xyabxyabxy", question(0, [("xy", 4)])))
    task = QaTask(
        build_tokenizer("char", vocab_path=tmp_path / "v.txt"),
        seq_length=14,
        doc_stride=4,
        max_answer_length=2,
    )
    examples = task.read(path)
    assert examples.labels["start"].tolist() == [3 + 4]
    logits = np.zeros((1, 14, 2), np.float32)
    for at, score in ((0, 3.0), (4, 5.0), (8, 4.0), (2, 2.0)):  # xy three times, ab
        logits[0, 3 + at, 0] = logits[0, 4 + at, 1] = score
    metric = task.metric(count=3)
    task.score(metric, logits, task.collate(examples, np.arange(1)), examples)
    listed = metric.listed(0)
    assert [answer["text"] for answer in listed[:1]] == ["xy"] and len({a["text"] for a in listed}) == 3
    assert (metric.answers(0)[0].start, metric.answers(0)[0].end) == (4, 5)


def test_the_head_is_that_of_transformers(tmp_path):
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=31, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    theirs = transformers.BertForQuestionAnswering(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = QaModel.build(read_companion(tmp_path).config, 31).eval()
    load_into(ours, tmp_path)
    src, kinds = torch.randint(5, 31, (3, 8)), torch.tensor([0, 0, 0, 1, 1, 1, 1, 1]).expand(3, 8)
    start, end = torch.tensor([0, 3, 4]), torch.tensor([0, 5, 4])
    out = theirs(input_ids=src, token_type_ids=kinds, start_positions=start, end_positions=end)
    logits = ours.logits({"src": src, "seg": kinds + 1})
    close(logits[..., 0], out.start_logits)
    close(logits[..., 1], out.end_logits)
    term = ours({"src": src, "seg": kinds + 1}, {"start": start, "end": end})["qa"]
    close(term.loss_sum / term.count, out.loss)


def squad(context, *questions):
    return {"data": [{"paragraphs": [{"context": context, "qas": list(questions)}]}]}


def question(number=0, answers=(("b", 1),), text="q"):
    listed = [{"text": answer, "answer_start": start} for answer, start in answers]
    return {"id": f"Q{number}", "question": text, "answers": listed}


@pytest.fixture
def wordpiece(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c", "d", ",", "中", "文"]
    (tmp_path / "v.txt").write_text("\n".join(pieces))
    return build_tokenizer("bert", vocab_path=tmp_path / "v.txt")


def write(path, value):
    path.write_text(json.dumps(value))
    return path


def test_word_pieces_keep_their_characters(tmp_path, wordpiece):
    context = " AC  中文, dd b"
    path = write(tmp_path / "q.json", squad(context, question(answers=[("中文, dd", 5)])))
    task = QaTask(wordpiece, seq_length=20, doc_stride=9)
    examples = task.read(path, training=True)
    row = task.collate(examples, np.arange(1))
    assert row.inputs["src"].tolist() == [[2, 1, 3, 5, 7, 10, 11, 9, 1, 6, 3]]
    assert (row.labels["start"], row.labels["end"]) == (5, 8)
    assert examples.text(0, Answer(1.0, 2, 5)) == "中文, dd" and examples.text(0, Answer(1.0, 0, 0)) == "AC"


def test_an_answer_that_stands_elsewhere(tmp_path, caplog):
    questions = [question(0, [("b", 4)]), question(1, [("x", 0), ("a", 0)]), question(2, [("bb", 9)])]
    queries = read_queries(write(tmp_path / "q.json", squad("abcabb", *questions)), answered=True)
    assert [query.span for query in queries] == [(4, 5), (0, 1), (4, 6)]
    assert "1 of 3 questions have an answer that does not stand at its answer_start" in caplog.text


def test_long_texts(tmp_path, caplog, wordpiece):
    path = write(tmp_path / "q.json", squad("a b a b a b a b", question(0, [("b", 14)])))
    value = json.loads(path.read_text())
    value["data"].append(squad("a b", question(1, [("b", 2)]))["data"][0])
    write(path, value)

    def read(how, training=True, **settings):
        values = {"seq_length": 8, "doc_stride": 2, "overflow": how, **settings}
        return QaTask(wordpiece, **values).read(path, training=training)

    caplog.set_level("INFO")
    windows = read("window")
    assert windows.labels["query"].tolist() == [0, 0, 0, 1]
    assert windows.labels["start"].tolist() == [0, 0, 6, 4] and windows.lengths.max() == 8
    assert "1 of 2 questions have a text longer than --seq_length 8; it is read in windows" in caplog.text
    assert len(read("truncate")) == 2 and len(read("truncate", training=False)) == 2
    assert len(read("drop")) == 1 and len(read("drop", training=False)) == 4
    with pytest.raises(DataError, match=r"data\[0\].paragraphs\[0\].qas\[0\]: the text is too long \(1 of 2"):
        read("error")
    with pytest.raises(DataError, match="every text is too long, so none is left"):
        read("drop", seq_length=5)
    with pytest.raises(ConfigError, match="--seq_length 4 has no room"):
        read("window", seq_length=4)


def test_a_question_that_leaves_no_room_is_cut(tmp_path, caplog, wordpiece):
    path = write(tmp_path / "q.json", squad("a b a", question(0, [("b", 2)], text="d " * 20)))
    examples = QaTask(wordpiece, seq_length=9, doc_stride=2).read(path)
    assert examples.lengths.tolist() == [9] and examples.labels["begin"].tolist() == [5]
    assert "1 of 1 questions leave no room for their text in --seq_length 9 tokens" in caplog.text


def with_question(**changes):
    return squad("abc", {**question(), **changes})


@pytest.mark.parametrize(
    "value, message",
    [
        ([], "the document: must be an object, and is"),
        ({}, "the document: the key 'data' is missing; there are: none"),
        ({"data": []}, "there is no question in the file"),
        ({"data": [{}]}, r"data\[0\]: the key 'paragraphs' is missing"),
        ({"data": [{"paragraphs": [{}]}]}, r"data\[0\].paragraphs\[0\]: the key 'context' is missing"),
        (squad(None, question()), r"paragraphs\[0\].context: must be a string, and is null"),
        (squad("abc", {"id": "1"}), r"qas\[0\]: the key 'question' is missing; there are: id"),
        (squad("abc", question(), question()), r"qas\[1\].id: the id 'Q0' stands in the file twice"),
        (with_question(answers=None), r"qas\[0\].answers: must be a list, and is null"),
        (with_question(answers=[{"text": "a"}]), r"answers\[0\]: the key 'answer_start' is missing"),
        (
            with_question(answers=[{"text": "a", "answer_start": "0"}]),
            r'answers\[0\].answer_start: must be a whole number, and is "0"',
        ),
        (
            with_question(answers=[{"text": "x", "answer_start": 0}]),
            r"qas\[0\].answers: none of the answers \('x'\) is in the context; a file without answers",
        ),
        (with_question(is_impossible="no"), r"qas\[0\].is_impossible: must be true or false"),
    ],
)
def test_faulty_documents(tmp_path, value, message):
    with pytest.raises(DataError, match="q.json: .*" + message):
        read_queries(write(tmp_path / "q.json", value), answered=True)


VALUES = st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "ab", "\ud800"])
ANSWERS = st.lists(
    VALUES | st.fixed_dictionaries({}, optional={"text": VALUES, "answer_start": VALUES}), max_size=2
)
QUESTIONS = st.fixed_dictionaries(
    {}, optional={"id": VALUES, "question": VALUES, "answers": VALUES | ANSWERS, "is_impossible": VALUES}
)


@settings(max_examples=60, deadline=None)
@given(context=VALUES, questions=VALUES | st.lists(QUESTIONS, max_size=2), labelled=st.booleans())
def test_any_document_is_read_or_refused(tmp_path_factory, context, questions, labelled):
    folder = tmp_path_factory.getbasetemp() / "qa"
    folder.mkdir(exist_ok=True)
    (folder / "v.txt").write_text("\n".join(SPECIAL + LETTERS))
    task = QaTask(build_tokenizer("char", vocab_path=folder / "v.txt"), seq_length=8, doc_stride=2)
    path = write(folder / "any.json", {"data": [{"paragraphs": [{"context": context, "qas": questions}]}]})
    try:
        examples = (
            task.read(path, training=True) if labelled else task.encode(read_queries(path, answered=False))
        )
    except DataError as error:
        assert "any.json" in str(error)
    else:
        assert len(examples) >= len(examples.queries) > 0


def generated(rng, count, unanswerable=0):
    """Generated questions: the answer is the two letters from the end of the alphabet."""
    documents = []
    for number in range(count):
        letters = rng.choices(LETTERS[:14], k=14)
        if number < unanswerable:
            questions = [{"id": f"Q{number}", "question": "z", "answers": []}]
        else:
            at, text = rng.randint(0, 12), "".join(rng.choices("uvwx", k=2))
            letters[at : at + 2] = text
            questions = [question(number, [(text, at)])]
        documents.append({"paragraphs": [{"context": "".join(letters), "qas": questions}]})
    return {"version": "x", "data": documents}


def test_64_questions_are_memorised(tmp_path, capsys):
    folder, value = Folder(tmp_path), generated(random.Random(9), 64, unanswerable=8)
    rows = folder.write("rows.json", json.dumps(value))
    settings = {"epochs_num": 25, "batch_size": 16, "seq_length": 14, "doc_stride": 5, "max_answer_length": 4}
    finetune("run_cmrc", folder, "rows.json", test_path=rows, best_metric="em", **settings)
    log = capsys.readouterr().err
    assert float(log.rsplit("EM:", 1)[1].split(",")[0]) >= 95
    extra = read_companion(folder / "model.bin").extra
    assert extra["no_answer"] is True and extra["doc_stride"] == 5
    infer("run_cmrc", folder, "rows.json", nbest_path=folder / "nbest.json", nbest_num=3)
    assert "The number of prediction instances:  64" in capsys.readouterr().out
    text = (tmp_path / "out.tsv").read_text()
    predicted, nbest = json.loads(text), json.loads((tmp_path / "nbest.json").read_text())
    gold = {
        q["id"]: q["answers"][0]["text"] if q["answers"] else ""
        for d in value["data"]
        for q in d["paragraphs"][0]["qas"]
    }
    assert list(predicted) == list(gold) and text.startswith('{\n    "Q0": ') and text.endswith("}\n")
    assert np.mean([predicted[name] == gold[name] for name in gold]) >= 0.95
    assert all(len(listed) == 3 and listed[0]["text"] == predicted[name] for name, listed in nbest.items())
    for document in value["data"]:
        del document["paragraphs"][0]["qas"][0]["answers"]
    folder.write("open.json", json.dumps(value))
    infer("run_cmrc", folder, "open.json")
    assert (tmp_path / "out.tsv").read_text() == text
    infer("run_cmrc", folder, "open.json", null_threshold=9.0)
    assert all(json.loads((tmp_path / "out.tsv").read_text()).values())
    infer("run_cmrc", folder, "open.json", max_answer_length=1)
    assert max(map(len, json.loads((tmp_path / "out.tsv").read_text()).values())) == 1
    with pytest.raises(ConfigError, match="--nbest_num 3 needs --nbest_path"):
        infer("run_cmrc", folder, "open.json", nbest_num=3)


def test_the_score_is_the_definition_that_was_named(golden, tmp_path):
    model = golden.load(QaModel(task_body(golden.config(), 120)))
    found = {}
    for kind in ("cmrc", "uer", "squad"):
        task = task_of(golden, metric_kind=kind)
        examples = task.read(tmp_path / "squad.json")
        metric = evaluate(model, task, examples, batch_size=4, precision=Precision("fp32"))
        found[kind] = metric.scores()
        assert list(found[kind]) == ["avg", "f1", "em"] and "Total:4,Skip:0" in metric.report()[0]
    assert found["cmrc"]["f1"] != found["squad"]["f1"]
