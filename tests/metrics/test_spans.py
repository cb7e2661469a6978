"""Spans are seqeval's, on random tags of both schemes and on UER-py's rows."""

import json

import numpy as np
import pytest
import seqeval.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from seqeval.metrics.sequence_labeling import get_entities
from sklearn.metrics import accuracy_score, f1_score

from uer.metrics import SpanF1
from uer.metrics.spans import Tags

BIO = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "[PAD]"]
BIOES = ["O", *(f"{prefix}-{kind}" for kind in ("A", "B") for prefix in "BIES")]


def flat(rows):
    lengths = [len(row) for row in rows]
    return np.concatenate([np.array(row, int) for row in rows]), np.repeat(np.arange(len(rows)), lengths)


@pytest.mark.parametrize("names", [BIO, BIOES])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_spans_are_seqevals(names, data):
    rows = data.draw(
        st.lists(st.lists(st.integers(0, len(names) - 1), min_size=1, max_size=9), min_size=1, max_size=4)
    )
    tags, row = flat(rows)
    found = Tags(names)
    named = [["O" if names[tag] == "[PAD]" else names[tag] for tag in tags] for tags in rows]
    expected, offset = set(), 0
    for tag_names in named:
        expected |= {(start + offset, end + offset, kind) for kind, start, end in get_entities(tag_names)}
        offset += len(tag_names)
    assert {(a, b, found.types[kind]) for a, b, kind in found.spans(tags, row).tolist()} == expected


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_seqevals(seed):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 5, rng.integers(1, 12)) for _ in range(20)]
    guess = [np.where(rng.random(len(row)) < 0.7, row, rng.integers(0, 5, len(row))) for row in rows]
    gold, row = flat(rows)
    predicted, places = flat(guess)[0], np.arange(len(gold))
    metric = SpanF1(BIO)
    for part in np.array_split(rng.permutation(len(gold)), 5):
        metric.update(places[part], row[part], predicted[part], gold[part])
    named = [[[BIO[tag] for tag in tags] for tags in side] for side in (rows, guess)]
    scores = metric.scores()
    assert scores["f1"] == pytest.approx(reference.f1_score(*named), abs=1e-8)
    assert scores["precision"] == pytest.approx(reference.precision_score(*named), abs=1e-8)
    assert scores["recall"] == pytest.approx(reference.recall_score(*named), abs=1e-8)
    assert scores["macro_f1"] == pytest.approx(reference.f1_score(*named, average="macro"), abs=1e-8)
    report = metric.report()
    assert report[-2] == "Report precision, recall, and f1:"
    assert report[-1] == f"{scores['precision']:.3f}, {scores['recall']:.3f}, {scores['f1']:.3f}"
    assert report[0].startswith("LOC: ")


def test_uers_rows(shared):
    """Perfect predictions and spans that begin with a B count as in UER; seqeval knows others too."""
    folder = shared / "golden" / "uer-tasks"
    facts = json.loads((folder / "metric_ner.json").read_text())
    tensors = load_file(folder / "metric_ner.safetensors")
    names = [*sorted(facts["label2id"], key=facts["label2id"].get), "[PAD]"]
    real = tensors["in.seg"] > 0
    rows = np.broadcast_to(np.arange(len(real))[:, None], real.shape)[real]
    gold, predicted = tensors["in.gold"][real], tensors["in.pred"][real]
    metric = SpanF1(names)
    metric.update(np.arange(len(gold)), rows, gold, gold)
    assert metric.report()[-2:] == facts["lines"]["perfect.batch1"]
    starts = metric.tags.spans(gold, rows)[:, 0]
    begun = sum(names[tag].startswith("B") for tag in gold[starts])
    assert begun == int(tensors["out.batch1.gold_entities_num"][0])
    metric = SpanF1(names)
    metric.update(np.arange(len(gold)), rows, predicted, gold)
    tags = [[names[t].replace("[PAD]", "O") for t in side] for side in (gold, predicted)]
    per_row = [[[tag for tag, r in zip(side, rows) if r == row] for row in range(len(real))] for side in tags]
    assert metric.scores()["f1"] == pytest.approx(reference.f1_score(*per_row), abs=1e-8)


SCHEMES = {"BMES": {"I": "M"}, "BILOU": {"E": "L", "S": "U"}, "BIOES": {}}
WORDS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["O", "X", "Y"])), min_size=1, max_size=5)


def well_formed(spans):
    """Tags of BIOES for spans of words."""
    tags = []
    for size, kind in spans:
        inner = ["S"] if size == 1 else ["B", *"I" * (size - 2), "E"]
        tags += ["O"] * size if kind == "O" else [f"{prefix}-{kind}" for prefix in inner]
    return tags


@pytest.mark.parametrize("scheme", SCHEMES)
@given(gold=WORDS, guess=WORDS)
@settings(max_examples=60, deadline=None)
def test_bmes_and_bilou_are_bioes_in_other_words(scheme, gold, guess):
    other = SCHEMES[scheme]
    sides = [well_formed(spans) for spans in (gold, guess)]
    size = min(map(len, sides))
    sides = [side[:size] for side in sides]
    typed = [[other.get(tag[0], tag[0]) + tag[1:] for tag in side] for side in sides]
    names = ["O", *(f"{other.get(prefix, prefix)}-{kind}" for prefix in "BIES" for kind in "XY")]
    metric = SpanF1(names)
    assert metric.tags.spans_words and not metric.tags.strange
    ids = [[names.index(tag) for tag in side] for side in typed]
    metric.update(np.arange(size), np.zeros(size, int), ids[1], ids[0])
    assert metric.scores()["f1"] == pytest.approx(reference.f1_score([sides[0]], [sides[1]]), abs=1e-8)


def test_bare_prefixes_are_the_tags_of_word_segmentation():
    metric = SpanF1(["B", "E", "M", "S", "[PAD]"])
    gold, guess = [0, 2, 1, 3, 0, 1], [0, 2, 1, 0, 1, 3]  # ABC D EF against ABC DE F
    metric.update(np.arange(6), np.zeros(6, int), guess, gold)
    assert metric.scores()["precision"] == metric.scores()["recall"] == pytest.approx(1 / 3)
    assert metric.report()[0].startswith("span: 0.333")


@pytest.mark.parametrize("seed", range(3))
def test_parts_of_speech_are_scored_word_by_word(seed):
    """Also where one is called as a prefix is: M is a measure word in the Chinese treebank."""
    names, rng = ["M", "NN", "VV", "[PAD]"], np.random.default_rng(seed)
    gold, guess = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    metric = SpanF1(names)
    metric.update(np.arange(30), np.zeros(30, int), guess, gold)
    assert not metric.tags.spans_words and metric.tags.types == ["M", "NN", "VV"]
    scores = metric.scores()
    assert scores["f1"] == pytest.approx(accuracy_score(gold, guess), abs=1e-8)
    assert scores["macro_f1"] == pytest.approx(
        f1_score(gold, guess, average="macro", zero_division=0), abs=1e-8
    )


def test_tags_without_a_prefix_beside_others_count_as_o():
    tags = Tags(["O", "B-X", "I-X", "loc", "X-B", "[PAD]"])
    assert tags.strange == ["loc", "X-B"] and tags.types == ["X"]
    assert tags.spans(np.array([1, 2, 3, 4, 1]), np.zeros(5, int))[:, :2].tolist() == [[0, 1], [4, 4]]


def test_nothing_at_all():
    assert SpanF1(BIO).scores() == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "macro_f1": 0.0}
    assert SpanF1(["O"]).report() == ["Report precision, recall, and f1:", "0.000, 0.000, 0.000"]
