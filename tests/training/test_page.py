"""The page of a run: complete by itself, safe, and drawn right."""

from __future__ import annotations

import html
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from uer.training.page import _ticks, _words, chart, lasting, worded, write_page

RECORDS = [
    {"step": step, "loss": 10 / step, "loss_mlm": 9 / step, "loss_sp": 1 / step, "acc_mlm": step / 100}
    | {"learning_rate": 1e-4, "gradient_norm": 1.0, "tokens_per_second": 2000.0, "skipped": 0}
    for step in range(10, 101, 10)
]


class Tags(HTMLParser):
    """Counts tags and holds that all are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.count, self.links = [], {}, []

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(records=RECORDS, total=100, *, running=False, config=None) -> tuple[str, Tags]:
    folder = Path("m.bin.run")
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or {"batch_size": 64, "gpu_ranks": [], "x": None}))
    (folder / "environment.json").write_text(json.dumps({"torch": "2.13", "data": {"instances": 12345}}))
    write_page(folder, "m.bin", total, records, running=running)
    text = (folder / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    return text, tags


def test_the_page_is_whole_and_needs_nothing_else():
    text, tags = page([*RECORDS, {"step": 100, "eval_loss": 2.5}, {"step": 50, "eval_loss": 2.0}])
    assert tags.count["svg"] == 5 and tags.count["polyline"] == 3 + 1 + 1 + 1 + 1 + 1
    assert not tags.links and "script" not in tags.count and "http" not in text.replace("http-equiv", "")
    assert (
        "finished: 100 of 100 steps" in text
        and "<td>held-out loss</td><td>2.0000 after 50 steps</td>" in text
    )
    assert "12,345" in text and "<td>gpu_ranks</td><td>none</td>" in text


def test_a_living_run_reloads_and_a_stopped_one_does_not():
    assert (
        'http-equiv="refresh"' in page(running=True)[0]
        and "running: 100 of 200" in page(total=200, running=True)[0]
    )
    text, _ = page(total=200)
    assert "refresh" not in text and "stopped: 100 of 200 steps" in text


def test_text_of_users_is_text():
    text, tags = page(config={"dataset_path": "<script>alert(1)</script>&"})
    assert "script" not in tags.count and "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text


@pytest.mark.parametrize("records", [[], [{"step": 5, "loss": None}], [{"step": 5, "loss": 2.0}]])
def test_little_or_nothing_to_show(records):
    assert page(records)[1].count.get("svg", 0) == (1 if records and records[0]["loss"] else 0)


def test_curves_lie_inside_and_keep_their_order():
    drawn = chart("Loss", {"a": [(0, 4.0), (50, 2.0), (100, 1.0)], "b": [(0, -1.0), (100, 3.0)]})
    line = re.search(r'<polyline points="([^"]+)"', drawn).group(1)
    points = [tuple(map(float, pair.split(","))) for pair in line.split()]
    assert all(58 <= x <= 546 and 14 <= y <= 202 for x, y in points)
    assert points == sorted(points) and points[0][1] < points[1][1] < points[2][1]
    assert "key" in drawn and "key" not in chart("Loss", {"a": [(0, 1.0)]})


def test_long_runs_are_thinned_out():
    text, _ = page([{"step": step, "loss": 1.0} for step in range(1, 20001)], total=20000)
    assert len(text) < 60_000


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 11.3), (2.1, 2.4), (-3, 40000), (5, 5), (0, 1e-5)])
def test_ticks_are_few_and_round(low, high):
    ticks = _ticks(low, high)
    assert len(ticks) <= 6 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    if low != high:
        assert len(ticks) >= 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.0, 5e-4, 1e-3], ["0", "5e-4", "10e-4"]),
        ([0.025, 0.05], ["0.025", "0.05"]),
        ([0, 5000, 10000], ["0", "5k", "10k"]),
        ([500, 1500], ["500", "1,500"]),
        ([0], ["0"]),
        ([-2.0, 2.0], ["-2", "2"]),
    ],
)
def test_the_numbers_of_an_axis_are_written_alike(values, words):
    assert _words(values) == words


def test_a_key_stays_with_its_colour_and_does_not_repeat_the_title():
    drawn = chart("Development", {"dev_acc": [(0, 0.5), (1, 0.6)], "dev_f1": [(0, 0.5), (1, 0.4)]})
    keys = re.findall(r'<span class="key"><i style="background: #\w+"></i>([^<]+)</span>', drawn)
    assert keys == ["accuracy", "f1"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("loss", "loss"),
        ("eval_loss", "held-out loss"),
        ("eval_acc_mlm", "held-out accuracy, mlm"),
        ("loss_bilm_forward", "loss, bilm forward"),
        ("dev_macro_f1", "development macro f1"),
    ],
)
def test_figures_are_named_in_words(key, words):
    assert worded(key) == words


def test_speed_is_drawn_from_zero_and_loss_is_not():
    records = [
        {"step": step, "loss": 90.0 + step, "tokens_per_second": 900.0 + step, "flop_utilisation": 0.5}
        for step in range(5)
    ]
    text, _ = page(records, total=5)
    speed, loss = text[text.index("Real tokens") :], text[text.index("<h2>Loss") :].split("</svg>")[0]
    zero = 'text-anchor="end">0</text>'
    assert zero in speed.split("</svg>")[0] and zero not in loss
    assert "Utilisation" in text and "50%" in text


def test_the_best_score_of_a_task_stands_on_top():
    scores = [{"step": step, "epoch": 1, "dev_acc": x, "dev_mcc": 0.1} for step, x in ((50, 0.7), (100, 0.6))]
    text, _ = page([*RECORDS, *scores])
    assert '<div class="soft">Best accuracy</div><div class="figure">0.7000</div>' in text


def test_scores_that_are_no_numbers_are_left_out():
    scores = [{"step": step, "epoch": 1, "dev_spearman": x} for step, x in ((50, float("nan")), (100, 0.5))]
    text, _ = page([*RECORDS, *scores])
    assert '<div class="figure">0.5000</div>' in text
    (points,) = (x for x in re.findall(r'polyline points="(.*?)"', text) if x.count(",") == 1)
    assert "nan" not in points
    text, _ = page([*RECORDS, scores[0]])
    assert '<div class="figure">nan</div>' in text and "<h2>Development" not in text
    assert "<h2>Best" not in text


def test_the_best_of_many_is_found_and_the_newest_is_drawn():
    """What is thinned out is only drawn less."""
    scores = [{"step": step, "dev_acc": 0.9 if step == 778 else 0.5} for step in range(1, 1300)]
    text, _ = page([*scores, {"step": 1300, "dev_acc": 0.25}], total=1300)
    assert '<div class="figure">0.9000</div>' in text and "0.9000 after 778 steps" in text
    (line,) = re.findall(r'polyline points="(.*?)"', text)
    end = line.split()[-1].split(",")
    assert float(end[0]) == 546 and float(end[1]) > float(line.split()[-2].split(",")[1])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (45, "45 s"),
        (59.6, "1 min 0 s"),
        (725, "12 min 5 s"),
        (12_000, "3 h 20 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_times_have_two_units(seconds, words):
    assert lasting(seconds) == words


def test_how_long_it_took_and_when_the_figures_came():
    timed = [{**record, "seconds": 30.0, "time": 1.7e9 + record["step"]} for record in RECORDS]
    text, _ = page(timed)
    assert re.search(r"100 of 100 steps · 5 min 0 s of training · 2023-11-1\d \d\d:\d\d</div>", text)
    assert "100 of 100 steps</div>" in page()[0]


def test_what_says_nothing_is_left_out(tmp_path):
    text, _ = page([{**RECORDS[0], "skipped": 0}])
    assert "Skipped" not in text.partition("<body>")[2]
    assert "Skipped updates" in page([{**RECORDS[0], "skipped": 2}])[0]
    folds, _ = page([], 0)  # of several runs: no steps, no bar, no empty rows
    assert "steps" not in folds and 'class="bar"' not in folds and 'charts"></div>' not in folds


def test_one_point_has_its_step():
    assert ">52</text>" in chart("x", {"loss": [(52, 1.0)]})


def test_facts_in_words_and_a_command_that_can_be_copied():
    folder = Path("m.bin.run")
    folder.mkdir()
    command = ["pretrain.py", "--vocab_path", "my vocab.txt", "--target", "mlm", "sp", "--x", "<b>"]
    facts = {"command": command, "data": {"over_length read": 0, "lines read": 7}}
    (folder / "environment.json").write_text(json.dumps(facts))
    write_page(folder, "m.bin", 100, RECORDS, running=False)
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "<td>lines read</td><td>7</td>" in text and "over" not in text.partition("<body>")[2]
    code = re.search("<code>(.*?)</code>", text)[1]
    assert code.count("<span>") == 4 and "<span>--target mlm sp</span>" in code
    plain = html.unescape(re.sub("<[^>]*>", "", code))
    assert shlex.split(plain) == ["python3", *command]
