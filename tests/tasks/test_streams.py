"""Every inference script in a pipe: what has come is answered before more is sent, and as from a file."""

import json
import os
import re
import sys
import threading

import numpy as np
import pytest

from tests.tasks.scripts import Folder, finetune, infer, script, words
from tests.tasks.test_choice import TAG
from tests.tasks.test_pairs import dual
from uer.errors import DataError

QUICK = {"epochs_num": 1, "batch_size": 8, "seq_length": 16}
LETTERS = "a b c d e f"


class Pipe:
    """A script's `main` that runs in a thread of this process, its input and output pipes."""

    def __init__(self, monkeypatch, name: str, **flags) -> None:
        ours, theirs = os.pipe(), os.pipe()
        monkeypatch.setattr(sys, "stdin", os.fdopen(ours[0], "r"))
        monkeypatch.setattr(sys, "stdout", os.fdopen(theirs[1], "w"))
        self.input, self.output = os.fdopen(ours[1], "w"), os.fdopen(theirs[0], "r")
        self.fault = None
        self._out = sys.stdout
        arguments = (script(f"inference/{name}").main, words(**flags))
        self.thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self.thread.start()

    def _run(self, main, typed) -> None:
        try:
            main(typed)
        except BaseException as error:
            self.fault = error
        self._out.close()

    def send(self, text: str) -> None:
        """Hand over lines."""
        self.input.write(text)
        self.input.flush()

    def line(self) -> str:
        """The next line of the output, which must come by itself."""
        found = []
        reader = threading.Thread(target=lambda: found.append(self.output.readline()), daemon=True)
        reader.start()
        reader.join(30)
        assert found, "no answer before the input ends"
        return found[0]

    def end(self) -> str:
        """Close the input; what is still to come."""
        self.input.close()
        rest = self.output.read()
        self.thread.join(30)
        if self.fault is not None:
            raise self.fault
        return rest


def prompts(folder):
    content = {"mine": {"template": "[TEXT_A][ANS]", "answer_words": {"0": "a", "1": "b"}}}
    return {"prompt_path": folder.write("p.json", json.dumps(content)), "prompt_id": "mine"}


def decoder(folder):
    from tests.tasks.scripts import TINY

    extra = {"decoder": "transformer", "tgt_embedding": ["word", "pos"], "embedding": ["word", "pos"]}
    config = json.dumps({**TINY, **extra, "tie_weights": True, "share_embedding": True})
    return {"config_path": folder.write("d.json", config), "tgt_seq_length": 6, "seq_length": 16}


def fields(lines):
    """The cells of lines; numbers to five places, since other rows in a batch change the last bits."""
    found = [line.rstrip("\n").split("\t") for line in lines]
    return [
        [round(float(x), 5) if re.fullmatch(r"-?\d\.\d+(e-\d+)?", x) else x for x in row] for row in found
    ]


TEXT = (["label", "text_a", "id"], lambda i: [i % 2, LETTERS[i:], f"n{i}"])
PAIR = (["label", "text_a", "text_b", "id"], lambda i: [i % 2, LETTERS[i:], "x y", f"n{i}"])
TABLES = {
    "run_classifier": (*TEXT, lambda folder: {}),
    "run_classifier_multi_label": (*TEXT, lambda folder: {}),
    "run_regression": (*PAIR, lambda folder: {}),
    "run_classifier_prompt": (*TEXT, prompts),
    "run_classifier_siamese": (*PAIR, lambda folder: {"config_path": dual(folder)}),
    "run_simcse": (*PAIR, lambda folder: {}),
    "run_ner": (
        ["text_a", "label", "id"],
        lambda i: [LETTERS, "O B-X I-X O O O", f"n{i}"],
        lambda folder: {},
    ),
    "run_text2text": (*TEXT, decoder),
}


@pytest.mark.parametrize("name", [*TABLES, "run_classifier_deepspeed"])
def test_rows_of_tables(tmp_path, monkeypatch, name, capsys):
    folder = Folder(tmp_path)
    columns, make, needs = TABLES["run_classifier" if name == "run_classifier_deepspeed" else name]
    folder.table("rows.tsv", columns, [make(number) for number in range(6)])
    finetune(name.removesuffix("_deepspeed"), folder, **{**QUICK, **needs(folder)})
    flags = {"keep_columns": ["id"]}
    if name == "run_simcse":
        flags["vectors_path"] = folder / "v.npy"
    infer(name, folder, **flags)
    expected = (tmp_path / "out.tsv").read_text().splitlines()
    assert [line.split("\t")[-1] for line in expected] == ["id", *(f"n{i}" for i in range(6))]
    rows = (tmp_path / "rows.tsv").read_text().splitlines(keepends=True)
    common = {"load_model_path": folder / "model.bin", "test_path": "-", "prediction_path": "-", **flags}
    pipe = Pipe(monkeypatch, f"{name}_infer", **common)
    pipe.send("".join(rows[:2]))
    first = [pipe.line(), pipe.line()]
    pipe.send(rows[2])
    first.append(pipe.line())
    pipe.send("".join(rows[3:]))
    assert fields([*first, *pipe.end().splitlines()]) == fields(expected)
    pipe = Pipe(monkeypatch, f"{name}_infer", **common)
    pipe.send("".join(rows[:2]))
    answered = [pipe.line(), pipe.line()]
    pipe.send("broken\n")
    with pytest.raises(DataError, match=r"-:3: the row has 1 of \d columns"):
        pipe.end()
    assert fields(answered) == fields(expected[:2])  # rows in front of a faulty one have their answers


def test_rows_for_several_data_sets(tmp_path, monkeypatch, capsys):
    folder = Folder(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in ("train", "dev"):
            folder.table(f"{name}/{file}.tsv", TEXT[0], [TEXT[1](number) for number in range(6)])
    settings = {
        "dataset_path_list": [folder / "one", folder / "two"],
        "output_model_path": folder / "model.bin",
    }
    settings |= {"vocab_path": folder.vocab, "config_path": folder.config, "precision": "fp32"}
    script("finetune/run_classifier_mt").main(words(**settings, **QUICK))
    infer("run_classifier_mt", folder, "one/dev.tsv", keep_columns=["id"])
    expected = (tmp_path / "out.tsv").read_text()
    rows = (tmp_path / "one" / "dev.tsv").read_text().splitlines(keepends=True)
    flags = {"load_model_path": folder / "model.bin", "test_path": "-", "prediction_path": "-"}
    pipe = Pipe(monkeypatch, "run_classifier_mt_infer", **flags, keep_columns=["id"])
    pipe.send("".join(rows[:2]))
    first = pipe.line() + pipe.line()
    pipe.send("".join(rows[2:]))
    assert first + pipe.end() == expected


@pytest.mark.parametrize("twin", ["run_classifier_cv_infer", "run_classifier_infer_cv"])
def test_features_of_what_comes_through_a_pipe(tmp_path, monkeypatch, twin, capsys):
    folder = Folder(tmp_path)
    rows = folder.table("rows.tsv", TEXT[0], [TEXT[1](number) for number in range(6)])
    settings = {"train_path": rows, "train_features_path": folder / "t.npy", "folds_num": 2}
    settings |= {"vocab_path": folder.vocab, "config_path": folder.config, "precision": "fp32"}
    main = script("finetune/run_classifier_cv").main
    main(words(output_model_path=folder / "model.bin", **settings, **QUICK))
    flags = {"load_model_path": folder / "model.bin", "folds_num": 2}
    script(f"inference/{twin}").main(words(test_path=rows, test_features_path=folder / "a.npy", **flags))
    pipe = Pipe(monkeypatch, twin, test_path="-", test_features_path=folder / "b.npy", **flags)
    pipe.send((tmp_path / "rows.tsv").read_text())
    assert pipe.end() == "The number of prediction instances:  6\n"
    np.testing.assert_array_equal(np.load(folder / "a.npy"), np.load(folder / "b.npy"))


def question_documents(kind):
    """Files of two documents each, as values, and the flags of training."""
    if kind == "c3":
        question = {"question": "q", "choice": ["a", "b"], "answer": "a", "level": 3}
        return [[[["a b"], [question, question], "x"]], [[["b a"], [question], "y"]]], {"tokenizer": "char"}
    if kind == "cmrc":
        asked = [
            {"id": f"Q{n}", "question": "q", "answers": [{"text": "b", "answer_start": 1}]} for n in range(3)
        ]
        parts = [{"paragraphs": [{"context": "abc", "qas": qas}]} for qas in (asked[:2], asked[2:])]
        return [{"data": [part]} for part in parts], {}
    lines = [{"candidates": ["abcd", "efgh"], "content": [f"x{TAG(n)}y"]} for n in range(2)]
    return lines, {}


@pytest.mark.parametrize("kind", ["c3", "cmrc", "chid"])
def test_documents(tmp_path, monkeypatch, kind, capsys):
    folder, (documents, flags) = Folder(tmp_path), question_documents(kind)
    lines = [json.dumps(document) + "\n" for document in documents]
    if kind == "chid":
        folder.write("rows.json", "".join(lines))
        gold = folder.write("gold.json", json.dumps({TAG(0): 0, TAG(1): 1}))
        flags |= {"train_answer_path": gold, "dev_answer_path": gold}
    elif kind == "c3":
        folder.write("rows.json", json.dumps([entry for document in documents for entry in document]))
    else:
        whole = [part for document in documents for part in document["data"]]
        folder.write("rows.json", json.dumps({"data": whole}))
    finetune(f"run_{kind}", folder, "rows.json", **{**QUICK, **flags})
    kept = {"keep_columns": ["level"]} if kind == "c3" else {}
    infer(f"run_{kind}", folder, "rows.json", **kept)
    expected = (tmp_path / "out.tsv").read_text()
    common = {"load_model_path": folder / "model.bin", "test_path": "-", **kept}

    def parsed(text):
        if kind == "c3":
            return [json.loads(line) for line in text.splitlines()]
        return {key: value for line in text.splitlines() for key, value in json.loads(line).items()}

    gold = parsed(expected) if kind == "c3" else json.loads(expected)
    pipe = Pipe(monkeypatch, f"run_{kind}_infer", **common)
    pipe.send(lines[0])
    first = pipe.line() + (pipe.line() if kind == "c3" else "")
    assert json.loads(first.splitlines()[0])
    pipe.send(lines[1])
    text = first + pipe.end()
    found = parsed(text)
    assert len(text.splitlines()) == (3 if kind == "c3" else 2)
    if kind == "c3":
        assert [entry["level"] for entry in found] == [3, 3, 3]
    assert found == gold
    # to a file: all in one, as from a file
    pipe = Pipe(monkeypatch, f"run_{kind}_infer", **common, prediction_path=folder / "piped.txt")
    pipe.send("".join(lines))
    pipe.end()
    assert (tmp_path / "piped.txt").read_text() == expected
    if kind != "chid":  # one document over many lines
        pipe = Pipe(monkeypatch, f"run_{kind}_infer", **common)
        pipe.send(json.dumps(json.loads((tmp_path / "rows.json").read_text()), indent=1))
        assert parsed(pipe.end()) == gold
    pipe = Pipe(monkeypatch, f"run_{kind}_infer", **common)
    pipe.send(lines[0])
    pipe.line()
    pipe.send("{\n")
    with pytest.raises(DataError, match=r"-:2: is not valid JSON"):
        pipe.end()


@pytest.mark.parametrize("schema", [None, ["p"]])
def test_what_a_prompt_names(tmp_path, monkeypatch, schema, capsys):
    folder = Folder(tmp_path)
    results = [{"text": "b", "start": 1, "end": 2}]
    lines = [{"content": f"abc{number}", "prompt": "p", "result_list": results} for number in range(3)]
    lines = [json.dumps(line) + "\n" for line in lines]
    folder.write("rows.txt", "".join(lines))
    finetune("run_uie", folder, "rows.txt", tokenizer="char", **QUICK)
    asked = {} if schema is None else {"schema_path": folder.write("s.json", json.dumps(schema))}
    infer("run_uie", folder, "rows.txt", **asked)
    expected = [json.loads(line) for line in (tmp_path / "out.tsv").read_text().splitlines()]
    pipe = Pipe(monkeypatch, "run_uie_infer", load_model_path=folder / "model.bin", test_path="-", **asked)
    pipe.send(lines[0])
    first = json.loads(pipe.line())
    pipe.send("".join(lines[1:]))
    found = [first, *map(json.loads, pipe.end().splitlines())]
    assert [line["content"] for line in found] == [line["content"] for line in expected]
    assert list(found[0])[-1] == ("result_list" if schema is None else "result")


def test_ids_of_two_documents(tmp_path, monkeypatch, capsys):
    folder, (documents, _) = Folder(tmp_path), question_documents("cmrc")
    folder.write("rows.json", json.dumps(documents[0]))
    finetune("run_cmrc", folder, "rows.json", **QUICK)
    flags = {"load_model_path": folder / "model.bin", "test_path": "-", "prediction_path": folder / "o.json"}
    pipe = Pipe(monkeypatch, "run_cmrc_infer", **flags)
    pipe.send(2 * (json.dumps(documents[0]) + "\n"))
    with pytest.raises(DataError, match="the id 'Q0' stands in two documents"):
        pipe.end()


def test_what_cannot_be_carried(tmp_path, capsys):
    from uer.errors import ConfigError

    folder = Folder(tmp_path)
    folder.table("rows.tsv", PAIR[0], [PAIR[1](number) for number in range(6)])
    finetune("run_simcse", folder, **QUICK)
    with pytest.raises(
        ConfigError, match="--keep_columns copies columns to --prediction_path, which is not given"
    ):
        infer("run_simcse", folder, vectors_path=folder / "v.npy", prediction_path=None, keep_columns=["id"])
    documents, flags = question_documents("c3")
    folder.write("rows.json", json.dumps(documents[0]))
    finetune("run_c3", folder, "rows.json", **{**QUICK, **flags})
    with pytest.raises(
        DataError, match=r"rows.json: \[0\]\[1\]\[0\]: the key 'colour' is missing; there are: que"
    ):
        infer("run_c3", folder, "rows.json", keep_columns=["colour"])
