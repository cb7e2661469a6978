"""The page's calls, in process: right numbers, the commands that give the same, refusals in one line."""

from __future__ import annotations

import json
import shlex
import socket
from functools import cache
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.checkpoints.folders import make
from tests.serving.conftest import SIZES
from uer.cli import run
from uer.config.generation import DecodingOptions
from uer.errors import CheckpointError, ConfigError, EnvironmentFault
from uer.serving.abilities import open_ability, spans
from uer.serving.app import create_app, listen
from uer.serving.model import describe

OWN = {"base_url": "http://127.0.0.1"}


@pytest.fixture(scope="module")
def opened(models):
    """`opened("lm.bin")`: a model, opened once."""
    return cache(lambda name: open_ability(describe(str(models / name)), "fp32", 64))


@pytest.fixture(scope="module")
def client(opened):
    """`client("mlm.bin", "lm.bin")`: the server over these models."""
    return lambda *names: TestClient(create_app([opened(name) for name in names]), **OWN)


@pytest.fixture
def typed(load_script, capsys):
    """Run a command of the page in the current folder; what it printed."""

    def call(line: str) -> str:
        made, second = line.rsplit(" > text.txt\n", 1)
        Path("text.txt").write_text(shlex.split(made)[2] + "\n", encoding="utf-8")
        words = shlex.split(second)
        assert words[0] == "python3"
        capsys.readouterr()
        assert run(load_script(words[1]).main, words[2:]) == 0
        return capsys.readouterr().out

    return call


def test_the_page_and_its_models(client):
    page = client("mlm.bin", "lm.bin").get("/")
    assert page.status_code == 200 and "<!doctype html>" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text and "https://" not in page.text  # nothing is loaded from elsewhere
    cards = client("mlm.bin", "lm.bin").get("/api/models").json()
    assert [card["ability"] for card in cards] == ["fill", "continue"]
    assert cards[0]["name"] == "mlm.bin" and cards[0]["length"] == 64 and cards[0]["layers"] == 2


def test_another_name_for_this_machine_is_refused(client):
    app = client("mlm.bin").app
    assert TestClient(app, base_url="http://evil.example").get("/").status_code == 400
    assert TestClient(app, base_url="http://localhost:8000").get("/").status_code == 200


@pytest.mark.parametrize("text", ["今天[MASK]气很'好'[MASK]", "今天[MASK]气很好，\n\n我很[MASK]"])
def test_fill(client, typed, tmp_path, text):
    given = client("mlm.bin").post("/api/fill", json={"text": text, "topn": 4}).json()
    assert [len(blank) for blank in given["blanks"]] == [4, 4]
    typed(given["command"])
    lines = (tmp_path / "answers.txt").read_text(encoding="utf-8").split("\n")
    for blank, line in zip(given["blanks"], lines[1:3]):
        words = line.removeprefix("Predicted answer: ").split(" ")
        assert words == [f"{found['token']}:{found['probability']:.6f}" for found in blank]


@pytest.mark.parametrize("second", ["", "第二句"])
def test_classify(client, typed, second):
    question = {"text": "这本书\n很好", "second": second}
    given = client("classifier.bin").post("/api/classify", json=question).json()
    chances = [found["probability"] for found in given["labels"]]
    assert chances == sorted(chances, reverse=True) and sum(chances) == pytest.approx(1)
    header, row = typed(given["command"]).splitlines()[:2]
    assert header == "label\tprob"
    label, numbers = row.split("\t")
    assert label == given["labels"][0]["label"]
    assert max(map(float, numbers.split(" "))) == pytest.approx(chances[0], abs=1e-6)


def test_tag(client, typed):
    text = "李白出生在碎叶城, Li Bai went to Chang'an 后来去了长安。"
    given = client("ner.bin").post("/api/tag", json={"text": text}).json()
    assert [found["word"] for found in given["words"]][7:12] == ["城", ",", "Li", "Bai", "went"]
    tags = [found["tag"] for found in given["words"]]
    assert len(set(tags)) > 1 and given["spans"] == [list(span) for span in spans(tags)]
    lines = typed(given["command"]).splitlines()
    assert lines[lines.index("pred_label") + 1].split() == tags


def test_ask(client, typed):
    text = "北京是中国的首都，有两千多万人口。上海是最大的城市，在长江口。"
    given = client("qa.bin").post("/api/ask", json={"text": text, "question": "首都是哪里？"}).json()
    answers = given["answers"]
    assert len(answers) == 5 and sum(answer["probability"] for answer in answers) == pytest.approx(1)
    assert [answer["text"] for answer in answers] == [text[a["start"] : a["end"]] for a in answers]
    chances = [answer["probability"] for answer in answers]
    assert chances == sorted(chances, reverse=True)
    assert json.loads(typed(given["command"])) == {"1": answers[0]["text"]}


def test_spans():
    tags = ["B-A", "I-A", "O", "I-A", "B-A", "B-A", "I-B", "S-A", "I-A", "B-C", "M-C", "E-C"]
    found = [(0, 2, "A"), (3, 4, "A"), (4, 5, "A"), (5, 6, "A"), (6, 7, "B"), (7, 8, "A"), (8, 9, "A")]
    assert spans(tags) == [*found, (9, 12, "C")]


def test_continue_streams_what_the_command_writes(client, typed, tmp_path):
    question = {
        "text": "今天",
        "max_new_tokens": 12,
        "top_k": 5,
        "temperature": 0.9,
        "seed": 3,
        "stop": ["的"],
    }
    answer = client("lm.bin").post("/api/continue", json=question)
    parts = [json.loads(line) for line in answer.text.splitlines()]
    assert len(parts) > 3 and [part.get("done", False) for part in parts] == [False] * (len(parts) - 1) + [
        True
    ]
    texts = [part["text"] for part in parts]
    assert all(texts[-1].startswith(text) for text in texts)
    assert parts[-1]["tokens"] <= 12
    typed(parts[-1]["command"])
    written = (tmp_path / "written.txt").read_text(encoding="utf-8")
    assert written.split("\n")[1].replace("##", "") == "[CLS]今天" + texts[-1].replace(" ", "")


def test_a_seed_that_was_not_given_stands_in_the_command(client):
    question = {"text": "今天", "max_new_tokens": 2}
    last = json.loads(client("lm.bin").post("/api/continue", json=question).text.splitlines()[-1])
    assert "--seed" in last["command"]


def test_a_decoder_writes_what_the_command_writes(client, typed, tmp_path):
    question = {"text": "今天<extra_id_0>很好", "max_new_tokens": 6, "top_k": 1}
    assert client("pair.bin").get("/api/models").json()[0]["pair"]
    answer = client("pair.bin").post("/api/continue", json=question)
    last = json.loads(answer.text.splitlines()[-1])
    assert last["tokens"] == 6 and "generate_seq2seq.py" in last["command"]
    typed(last["command"])
    written = (tmp_path / "written.txt").read_text(encoding="utf-8").split("\n")
    assert written[0] == question["text"]
    assert written[1].replace("##", "") == "[CLS]" + last["text"].replace(" ", "")


def test_a_model_fine_tuned_from_text_to_text(client, typed, tmp_path, load_script):
    """What the page shows is what the prediction script of the task writes."""
    app = client("text2text.bin")
    assert app.get("/api/models").json()[0]["length"] == 12
    answer = app.post("/api/continue", json={"text": "今天很好", "top_k": 1, "max_new_tokens": 40})
    last = json.loads(answer.text.splitlines()[-1])
    typed(last["command"])
    written = (tmp_path / "written.txt").read_text(encoding="utf-8").split("\n")
    assert written[0] == "翻译：今天很好" and "--stop '[SEP]'" in last["command"]
    (tmp_path / "rows.tsv").write_text("text_a\n今天很好\n", encoding="utf-8")
    words = ["--load_model_path", shlex.split(last["command"].splitlines()[1])[3], "--test_path", "rows.tsv"]
    assert (
        run(load_script("inference/run_text2text_infer.py").main, [*words, "--prediction_path", "p.tsv"]) == 0
    )
    (_, row) = (tmp_path / "p.tsv").read_text(encoding="utf-8").splitlines()
    assert row == last["text"] and row.replace(" ", "") == written[1].replace("##", "").removeprefix("[CLS]")


def test_two_models_answer_apart(client):
    both = client("lm.bin", "large_lm.bin")
    texts = []
    for model in (0, 1):
        question = {"text": "今天", "model": model, "top_k": 1, "max_new_tokens": 5}
        last = json.loads(both.post("/api/continue", json=question).text.splitlines()[-1])
        texts.append(last["text"])
        assert ("lm.bin", "large_lm.bin")[model] in last["command"]
    assert texts[0] != texts[1]


@pytest.mark.parametrize(
    ("names", "ability", "question", "message"),
    [
        (["mlm.bin"], "fill", {"text": "今天"}, "no [MASK]"),
        (["mlm.bin"], "fill", {"text": "x", "model": 1}, "there is no model number 1"),
        (["mlm.bin"], "classify", {"text": "今天"}, "cannot classify; it can fill"),
        (["classifier.bin"], "classify", {"text": " \n"}, "the text is empty"),
        (["ner.bin"], "tag", {"text": ""}, "the text is empty"),
        (["qa.bin"], "ask", {"text": "今天", "question": " "}, "the text is empty"),
        (["lm.bin"], "continue", {"text": "今" * 80}, "the model reads 64; shorten it"),
        (["lm.bin"], "continue", {"text": "今", "stop": [""]}, "--stop has an empty string"),
    ],
)
def test_refusals(client, names, ability, question, message):
    answer = client(*names).post(f"/api/{ability}", json=question)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_values_out_of_range_are_refused(client):
    answer = client("mlm.bin").post("/api/fill", json={"text": "x", "topn": 0})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"][-1] == "topn"
    assert client("mlm.bin").post("/api/fill", json={"text": "x" * 20_001}).status_code == 422


def test_a_reader_who_leaves_stops_the_writing(opened):
    lm = opened("lm.bin")
    parts = lm.stream("今", DecodingOptions(max_new_tokens=50, seed=1))
    assert "text" in next(parts)
    parts.close()
    assert lm.lock.acquire(timeout=20)  # free again: nobody writes any more
    lm.lock.release()
    assert len(list(lm.stream("今", DecodingOptions(max_new_tokens=3, top_k=1)))) == 4


def test_a_file_without_companion_is_described_by_flags(models, load_script, monkeypatch, tmp_path):
    tokenizer = models / "mlm.bin.meta" / "tokenizer" / "vocab.txt"
    (tmp_path / "old.bin").write_bytes((models / "mlm.bin").read_bytes())
    sizes = {key: value for key, value in SIZES.items() if key != "max_seq_length"}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    script, served = load_script("scripts/serve.py"), []
    monkeypatch.setattr("uer.serving.app.serve", lambda models, listener: served.extend([*models, listener]))
    flags = ["--config_path", "config.json", "--vocab_path", str(tokenizer), "--max_seq_length", "64"]
    flags += ["--embedding", "word_pos_seg", "--target", "mlm"]
    assert run(script.main, ["--load_model_path", "old.bin", *flags, "--port", "0"]) == 0
    served[1].close()
    answer = served[0].run("今天[MASK]", 2)
    expected = open_ability(describe(str(models / "mlm.bin")), "fp32", 64).run("今天[MASK]", 2)
    assert answer["blanks"] == expected["blanks"]
    for word in flags[::2]:
        assert word in answer["command"]


def test_two_models_at_most(load_script, capsys):
    assert run(load_script("scripts/serve.py").main, ["--load_model_path", "a", "b", "c"]) == 2
    assert "compares two at most" in capsys.readouterr().err


def test_a_port_that_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(EnvironmentFault, match="--port"):
            listen(other.getsockname()[1])
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_tags_without_names(tmp_path):
    make("bert", "ForTokenClassification", tmp_path / "tagger")
    with pytest.raises(CheckpointError, match=r"tagger does not say what its tags are called; .* id2label"):
        open_ability(describe("tagger"), "fp32", 64)
    config = json.loads((tmp_path / "tagger" / "config.json").read_text())
    named = {**config, "id2label": {"0": "O", "1": "B-BOOK"}, "label2id": {"O": 0, "B-BOOK": 1}}
    (tmp_path / "tagger" / "config.json").write_text(json.dumps(named))
    found = open_ability(describe("tagger"), "fp32", 64).run("我 喜 欢 the good")
    assert {word["tag"] for word in found["words"]} <= {"O", "B-BOOK"} and len(found["words"]) == 5


def test_models_that_cannot_be_shown(models, tmp_path):
    (tmp_path / "none.bin").write_bytes((models / "mlm.bin").read_bytes())
    with pytest.raises(ConfigError, match="does not say by itself"):
        describe("none.bin")
    odd = describe(str(models / "mlm.bin"))
    odd.extra = {"task": "regression"}
    with pytest.raises(CheckpointError, match="a model of the task 'regression'"):
        open_ability(odd, "fp32", 64)
