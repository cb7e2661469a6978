"""Extraction by prompts: PaddleNLP's numbers, how pointers pair, files, windows, and the scripts."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.tasks.golden import close
from tests.tasks.scripts import LETTERS, SPECIAL, Folder, finetune, infer
from uer.checkpoints import load_into, read_companion
from uer.errors import ConfigError, DataError
from uer.tasks.pointers import Span, SpanSets, chosen, paired
from uer.tasks.uie import UieModel, UieTask
from uer.tasks.uie_files import Ask, asked, read_asks, read_open, with_negatives
from uer.tokenizers import build_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "zoo" / "F15_uie"


def test_probabilities_and_loss_are_paddlenlps(tmp_path):
    tensors = load_file(GOLDEN.with_suffix(".safetensors"))
    facts = json.loads(GOLDEN.with_suffix(".json").read_text())
    values = {"architectures": ["UIE"], "paddlenlp_version": "2.8.1", **facts["config"]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    state = {name[6:]: tensor for name, tensor in tensors.items() if name.startswith("state.")}
    save_file(state, tmp_path / "model.safetensors")
    model = UieModel.build(read_companion(tmp_path).config, 97)
    report = load_into(model, tmp_path)
    assert not report.new and {"output_layer_start.weight", "output_layer_end.bias"} <= set(report.loaded)
    model.eval()
    real = tensors["in.attention_mask"] > 0
    inputs = {"src": tensors["in.input_ids"], "seg": real * (1 + tensors["in.token_type_ids"])}
    found = model.predict(inputs)
    gold = [tensors[f"in.{name}_labels"].float() for name in ("start", "end")]
    wholes = []
    for number, name in enumerate(("start", "end")):
        theirs = tensors[f"out.{name}_prob"]
        close(found[..., number][real], theirs[real])
        assert not found[..., number][~real].any()
        wholes.append(F.binary_cross_entropy(torch.where(real, found[..., number], theirs), gold[number]))
    # their loss is over padding too; ours is over the real tokens
    close(sum(wholes) / 2, tensors["out.loss"].squeeze(), 2e-6)
    labels = {name: x.long() * real for name, x in zip(("start", "end"), gold)}
    term = model(inputs, labels)["uie"]
    probabilities = torch.stack([tensors["out.start_prob"], tensors["out.end_prob"]], dim=-1)[real].double()
    marks = torch.stack([labels["start"], labels["end"]], dim=-1)[real].double()
    expected = -(marks * probabilities.log() + (1 - marks) * (1 - probabilities).log()).mean()
    assert term.count == real.sum()
    close(term.loss_sum / term.count, expected.float())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12))
def test_a_start_goes_with_the_next_end_and_the_last_one_wins(flags):
    starts = np.array([0.9 if start else 0.1 for start, _ in flags])
    ends = np.array([0.8 if end else 0.5 for _, end in flags])
    expected = {}
    for place, (start, _) in enumerate(flags):
        end = next((at for at in range(place, len(flags)) if flags[at][1]), None)
        if start and end is not None:
            expected[end] = place
    found = paired(starts, ends, 0.5)
    assert [(span.start, span.end) for span in found] == [(start, end) for end, start in expected.items()]
    assert all(span.probability == pytest.approx(0.72) for span in found)


def test_the_answer_that_most_windows_choose():
    few, many = [Span(3, 4, 0.99)], [Span(6, 7, 0.6)]
    assert chosen([many, few, [Span(6, 7, 0.8)]]) == Span(6, 7, pytest.approx(0.7))
    assert chosen([few, many]) == few[0] and chosen([[], []]) is None


def test_f1_of_sets():
    sets = SpanSets()
    sets.update([(0, 1), (2, 3)], [(0, 1)])
    sets.update([], [(4, 5), (0, 1)])
    assert sets.scores() == {
        "f1": pytest.approx(0.4),
        "precision": pytest.approx(1 / 2),
        "recall": pytest.approx(1 / 3),
    }
    assert SpanSets().scores()["f1"] == 0
    assert sets.report()[-1] == "0.500, 0.333, 0.400"


def row(content, prompt, *answers, **changes):
    results = [{"text": content[a:b], "start": a, "end": b} for a, b in answers]
    return {"content": content, "prompt": prompt, "result_list": results, **changes}


def write(path, *rows):
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rows), encoding="utf-8")
    return path


def test_rows_of_paddlenlp(tmp_path):
    choice = "情感倾向[正向,负向]"
    option = {"text": "负向", "start": -4, "end": -2}
    path = write(
        tmp_path / "a.txt",
        row("北京和上海", "地点", (0, 2), (3, 5)),
        row("北京和上海", "人物"),
        row("不好", choice, result_list=[option]),
    )
    asks = read_asks(path)
    assert [ask.spans for ask in asks] == [[(0, 2), (3, 5)], [], []]
    assert asks[2].options == [(8, 10)] and asks[2].chooses == 5 and asks[0].chooses is None
    assert Ask("倾向［好，坏］", "").chooses == 3
    assert read_open(path, prompted=True)[0] == {"content": "北京和上海", "prompt": "地点"}
    assert read_open(write(tmp_path / "b.txt", {"text": "x"}), prompted=False) == [{"content": "x"}]


def test_rows_of_doccano(tmp_path):
    entities = [
        {"id": 7, "start_offset": 0, "end_offset": 2, "label": "人物"},
        {"id": 8, "start_offset": 4, "end_offset": 6, "label": "地点"},
        {"id": 9, "start_offset": 7, "end_offset": 9, "label": "地点"},
    ]
    relations = [{"id": 1, "from_id": 7, "to_id": 8, "type": "住处"}]
    path = write(
        tmp_path / "a.jsonl",
        {"id": 1, "text": "张三住在北京、上海", "entities": entities, "relations": relations},
        {"text": "李四", "label": [[0, 2, "人物"]]},
        {"data": "李四", "label": {"entities": [], "relations": []}},
    )
    assert [(ask.prompt, ask.spans) for ask in read_asks(path)] == [
        ("人物", [(0, 2)]),
        ("地点", [(4, 6), (7, 9)]),
        ("张三的住处", [(4, 6)]),
        ("人物", [(0, 2)]),
    ]
    assert read_asks(path, lang="en")[2].prompt == "住处 of 张三"


@pytest.mark.parametrize(
    "value, message",
    [
        ({}, "1: the document: the key 'data' is missing"),
        (row("abc", ""), "prompt: is empty; it says what is looked for"),
        ({"content": "abc", "prompt": "x"}, "the key 'result_list' is missing"),
        (
            row("abc", "x", result_list=[{"text": "b", "start": 0, "end": 1}]),
            r"result_list\[0\]: 'b' is not at 0 to 1, where 'a' stands",
        ),
        (
            row("abc", "x", result_list=[{"text": "b", "start": 2, "end": 4}]),
            r"result_list\[0\]: is no stretch of the text: 2 to 4 of 3 characters",
        ),
        (
            row("abc", "x[y,z]", result_list=[{"text": "b", "start": -2, "end": -1}]),
            r"'b' is none of the answers that the prompt 'x\[y,z\]' offers",
        ),
        ({"text": "abc", "label": ["pos"]}, r"label\[0\]: must be a list"),
        ({"text": "abc", "label": [[0, 9, "x"]]}, r"label\[0\]: is no stretch of the text"),
        (
            {"text": "abc", "entities": [], "relations": [{"from_id": 3, "to_id": 4, "type": "x"}]},
            r"relations\[0\].from_id: no entity of the row has the id 3",
        ),
    ],
)
def test_faulty_rows(tmp_path, value, message):
    with pytest.raises(DataError, match="r.txt:" + ".*" + message):
        read_asks(write(tmp_path / "r.txt", value))


def test_scores_of_each_kind_of_prompt(letters):
    examples = task_of(letters, seq_length=40, lang="en").encode(
        [
            Ask("city of ab", "ab in cd", spans=[(6, 8)]),
            Ask("city of ef", "ef in gh", spans=[(6, 8)]),
            Ask("mood of ab [x,y]", "ab in cd", options=[(12, 13)]),
            Ask("name", "ab in cd", spans=[(0, 2)]),
        ]
    )
    assert [asked(ask, "en") for ask in examples.asks] == ["city", "city", "mood", "name"]
    assert asked(Ask("味道的情感倾向[正向,负向]", "味道好"), "zh") == "情感倾向"
    metric = task_of(letters, lang="en").metric()
    metric.bind(examples)
    batch = task_of(letters).collate(examples, np.arange(3))  # the last prompt finds nothing
    marks = np.stack([batch.labels["start"], batch.labels["end"]], axis=-1)
    metric.update(np.where(marks, 0.9, 0.2) * (np.arange(3) != 1)[:, None, None], batch.labels)
    (table,) = metric.tables()
    assert (table.title, table.head) == ("Each prompt", ["prompt", "precision", "recall", "F1", "support"])
    assert [[row[0], *(round(x, 6) for x in row[1:])] for row in table.rows] == [
        ["city", 1, 0.5, pytest.approx(2 / 3, abs=1e-6), 2],
        ["mood", 1, 1, 1, 1],
        ["name", 0, 0, 0, 1],
    ]


def test_nothing_to_read(tmp_path):
    for read in (read_asks, lambda path: read_open(path, prompted=False)):
        with pytest.raises(DataError, match="there is no row in the file"):
            read(write(tmp_path / "r.txt"))
    with pytest.raises(DataError, match="has no 'prompt'; name a schema with --schema_path"):
        read_open(write(tmp_path / "r.txt", {"content": "x"}), prompted=True)


def test_prompts_without_an_answer():
    asks = [
        Ask("人物", "张三住北京", spans=[(0, 2)]),
        Ask("地点", "张三住北京", spans=[(3, 5)]),
        Ask("张三的住处", "张三住北京", spans=[(3, 5)]),
        Ask("人物", "李四当县长", spans=[(0, 2)]),
        Ask("李四的职务", "李四当县长", spans=[(3, 5)]),
        Ask("情感倾向[正向,负向]", "李四当县长", options=[(5, 7)]),
        Ask("时间", "今天"),
    ]
    every = with_negatives(asks, 9, lang="zh", seed=1)
    assert every[:7] == asks and not any(ask.spans or ask.options for ask in every[7:])
    added = {(ask.text, ask.prompt) for ask in every[7:]}
    assert added == {
        ("张三住北京", "时间"),
        ("张三住北京", "张三的职务"),
        ("李四当县长", "地点"),
        ("李四当县长", "时间"),
        ("李四当县长", "李四的住处"),
        ("今天", "人物"),
        ("今天", "地点"),
    }
    few = with_negatives(asks, 1, lang="zh", seed=1)
    counts = [sum(ask.text == text for ask in few[7:]) for text in ("张三住北京", "李四当县长", "今天")]
    assert counts == [2, 2, 1]
    assert {ask.prompt for ask in few[7:]} != {
        ask.prompt for ask in with_negatives(asks, 1, lang="zh", seed=5)[7:]
    }
    english = [Ask("city of a b", "a b", spans=[(0, 1)]), Ask("age of c", "c", spans=[(0, 1)])]
    assert {ask.prompt for ask in with_negatives(english, 1, lang="en", seed=1)[2:]} == {
        "age of a b",
        "city of c",
    }


@pytest.fixture
def letters(tmp_path):
    (tmp_path / "v.txt").write_text("\n".join(SPECIAL + LETTERS))
    return build_tokenizer("char", vocab_path=tmp_path / "v.txt")


def task_of(tokenizer, **changes):
    return UieTask(tokenizer, **{"seq_length": 12, **changes})


def test_windows_of_a_long_text(tmp_path, letters, caplog):
    caplog.set_level("INFO")
    text = "abcdefghijklmnop"
    path = write(tmp_path / "r.txt", row(text, "xy", (0, 1), (4, 9), (15, 16)), row("ab", "xy"))
    examples = task_of(letters).read(path, training=True)
    assert examples.lengths.max() == 12 and examples.labels["ask"].tolist() == [0, 0, 0, 1]
    assert "1 of 2 texts are longer than --seq_length 12 leaves room; they are read in windows" in caplog.text
    batch = task_of(letters).collate(examples, np.arange(4))
    assert batch.inputs["src"][0].tolist() == [2, 28, 29, 3, 5, 6, 7, 8, 9, 10, 11, 3]
    assert batch.inputs["seg"][0].tolist() == [1] * 4 + [2] * 8 and batch.counts == {"uie": 43}
    assert batch.labels["start"][0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    assert batch.labels["end"].sum() == 3 and batch.labels["start"][3].sum() == 0
    assert len(task_of(letters, overflow="truncate").read(path)) == 2
    assert len(task_of(letters, overflow="drop").read(path, training=True)) == 1
    assert len(task_of(letters, overflow="drop").read(path)) == 4
    with pytest.raises(DataError, match=r"r\.txt:1: the document: the text is too long"):
        task_of(letters, overflow="error").read(path, training=True)
    with pytest.raises(DataError, match="every text is too long"):
        task_of(letters, overflow="drop").read(write(tmp_path / "s.txt", row(text, "xy")), training=True)
    with pytest.raises(ConfigError, match="--seq_length 4 has no room for prompt and text"):
        task_of(letters, seq_length=4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=6),
    st.integers(0, 5),
    st.integers(6, 30),
    st.sampled_from(["x", "xyzxyzxyzxyzxyz"]),
    st.integers(0, 2**32),
)
def test_pointers_that_are_right_give_the_answers(tmp_path_factory, gaps, rest, size, prompt, seed):
    """Windows cut no answer, and a window's places are those of the text."""
    folder = tmp_path_factory.getbasetemp()
    (folder / "v.txt").write_text("\n".join(SPECIAL + LETTERS))
    tokenizer = build_tokenizer("char", vocab_path=folder / "v.txt")
    spans, end = [], 0
    for gap, length in gaps:
        spans.append((end + gap, end + gap + length))
        end = spans[-1][1]
    text = "".join(random.Random(seed).choices(LETTERS, k=end + rest))
    task = task_of(tokenizer, seq_length=size)
    examples = task.encode([Ask(prompt, text, spans=spans), Ask("xy[a,b]", text, options=[(5, 6)])])
    metric = task.metric()
    for rows in np.array_split(np.random.default_rng(seed).permutation(len(examples)), 3):
        if len(rows):
            batch = task.collate(examples, rows)
            marks = np.stack([batch.labels["start"], batch.labels["end"]], axis=-1)
            task.score(metric, np.where(marks, 0.9, 0.2), batch, examples)
    expected = [
        {"text": text[a:b], "start": a, "end": b, "probability": pytest.approx(0.81)} for a, b in spans
    ]
    assert metric.results(0) == expected
    if size > 14:  # else the prompt is cut
        assert metric.results(1) == [{"text": "b", "probability": pytest.approx(0.81)}]
        assert metric.scores()["f1"] == pytest.approx(1)


PAIRS, OTHERS = "thepairs", "others"


def generated(rng, count):
    """Generated rows: PAIRS asks for `uv` and OTHERS for `w` and `zy`, of which there may be none or several;
    `s[t,q]` for whether the text begins with a `p`.
    """
    rows = []
    for _ in range(count):
        text, found = [rng.choice("pr")], {PAIRS: [], OTHERS: []}
        for _ in range(rng.randint(1, 3)):
            text += rng.choices(LETTERS[:12], k=rng.randint(0, 2))
            kind = rng.choice([PAIRS, OTHERS])
            word = "uv" if kind == PAIRS else rng.choice(["w", "zy"])
            found[kind].append((len(text), len(text) + len(word)))
            text += word
        text = "".join(text)
        rows += [row(text, kind, *spans) for kind, spans in found.items()]
        option = {"text": "t" if text[0] == "p" else "q", "start": -4, "end": -3}
        rows.append(row(text, "s[t,q]", result_list=[option]))
    return rows


def test_64_rows_are_memorised(tmp_path, capsys):
    folder = Folder(tmp_path)
    rows = generated(random.Random(5), 22)[:64]
    write(tmp_path / "rows.txt", *rows)
    settings = {"epochs_num": 110, "eval_steps": 220, "save_checkpoint_steps": 0, "seq_length": 30}
    test_path = folder / "rows.txt"
    assert not finetune(
        "run_uie", folder, "rows.txt", test_path=test_path, threshold=0.4, tokenizer="char", **settings
    )
    test = capsys.readouterr().err.rsplit("Test set evaluation.")[-1]
    assert float(re.findall(r", (\d\.\d+)\s*$", test, re.M)[-1]) >= 0.95
    extra = read_companion(folder / "model.bin").extra
    assert extra == {**extra, "task": "uie", "seq_length": 30, "threshold": 0.4, "schema_lang": "zh"}
    open_rows = [{"content": line["content"], "prompt": line["prompt"]} for line in rows]
    write(tmp_path / "open.txt", *open_rows)
    assert not infer("run_uie", folder, "open.txt")
    assert "The number of prediction instances:  64" in capsys.readouterr().out
    found = [json.loads(line) for line in (tmp_path / "out.tsv").read_text("utf-8").splitlines()]
    right = 0
    for ours, gold in zip(found, rows, strict=True):
        listed = [
            {key: result[key] for key in result if key != "probability"} for result in ours["result_list"]
        ]
        if "[" in ours["prompt"]:
            right += listed == [{"text": gold["result_list"][0]["text"]}]
        else:
            right += listed == gold["result_list"]
        assert all(0.16 < result["probability"] <= 1 for result in ours["result_list"])
    assert right / 64 >= 0.9
    infer("run_uie", folder, "open.txt", threshold=1.0)
    assert not any(
        json.loads(line)["result_list"] for line in (tmp_path / "out.tsv").read_text().splitlines()
    )
    (tmp_path / "schema.json").write_text(json.dumps([PAIRS, {OTHERS: [PAIRS]}, "s[t,q]"]))
    infer("run_uie", folder, "open.txt", schema_path=folder / "schema.json")
    by_schema = [
        json.loads(line)["result"] for line in (tmp_path / "out.tsv").read_text("utf-8").splitlines()
    ]
    for ours, listed in zip(found, by_schema):
        if ours["prompt"] != OTHERS:  # whose answers may have relations
            assert ours["result_list"] == listed.get(ours["prompt"], [])
    with pytest.raises(ConfigError, match=r"--schema_lang is en, but the model .* was trained with zh"):
        infer("run_uie", folder, "open.txt", schema_lang="en")


def test_flags_of_training_reach_the_task(tmp_path, capsys):
    folder = Folder(tmp_path)
    write(
        tmp_path / "rows.txt",
        {"text": "abc", "label": [[0, 1, "x"]]},
        {"text": "def", "label": [[0, 1, "y"]]},
    )
    flags = {"epochs_num": 1, "tokenizer": "char", "negative_ratio": 2, "schema_lang": "en", "seq_length": 20}
    finetune("run_uie", folder, "rows.txt", **flags)
    assert "rows.txt: 2 prompts without an answer to 2 rows." in capsys.readouterr().err
    assert read_companion(folder / "model.bin").extra["schema_lang"] == "en"
