"""Sentiment words and pairs: lists, places, the three steps of hiding, labels."""

import numpy as np
import pytest

from uer.config.preprocess import InstanceOptions, MaskingOptions
from uer.data.batch import IGNORE
from uer.data.pretrain_data import PretrainData, objective_of
from uer.data.sentiment import (
    IN_PAIR,
    IN_WORD,
    PAIR,
    PAIR_END,
    POSITIVE,
    WORD,
    SentimentFinder,
    SentimentMasker,
    read_pairs,
    read_sentiment_words,
    whole_pairs,
)
from uer.errors import ConfigError, DataError

PAD, CLS, SEP, MASK, FIRST = 0, 2, 3, 4, 5
# In words of numbers: 10 and 11 12 are positive, 20 is negative; 1 and 2 3 are aspects.
WORDS = "10\tpositive\n11 12\tpositive\n20\tnegative\n"
PAIRS = "1\t10\n2 3\t20\n1\t11 12\n"


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "words.tsv").write_text(WORDS)
    (tmp_path / "pairs.tsv").write_text(PAIRS)
    return {
        "sentiment_path": (str(tmp_path / "words.tsv"),),
        "pair_path": (str(tmp_path / "pairs.tsv"),),
    }


def found(numbers, lists, text, **more):
    options = InstanceOptions(data_processor="skep", **lists, **more)
    ids = np.array(
        [CLS if word == "C" else SEP if word == "S" else FIRST + int(word) for word in text.split()]
    )
    return SentimentFinder(numbers, options)(ids)


def places(marks, bit):
    return np.flatnonzero(marks & bit).tolist()


def test_words_and_their_polarity(numbers, lists):
    marks = found(numbers, lists, "5 10 11 12 6 20 12 11")
    assert places(marks, IN_WORD) == [1, 2, 3, 5] and places(marks, WORD) == [1, 2, 5]
    assert places(marks, POSITIVE) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "inside", "begin", "end"),
    [
        ("1 5 5 5 10", [0, 4], [0], [4]),
        ("1 5 5 5 5 10", [], [], []),  # four tokens lie between
        ("20 5 2 3", [0, 2, 3], [0], [3]),  # the opinion stands first
        ("10 5 1 10", [2, 3], [2], [3]),  # the nearest one
        ("1 5 20", [], [], []),  # not a pair of the list
        ("1 S 10", [], [], []),  # of another text
        ("1 2 3 20 10", [0, 4], [0], [4]),  # pairs lie apart: the second one would begin inside the first
        ("1 11 12 2 3 20", [0, 1, 2, 3, 4, 5], [0, 3], [2, 5]),
    ],
)
def test_pairs(numbers, lists, text, inside, begin, end):
    marks = found(numbers, lists, text)
    assert (places(marks, IN_PAIR), places(marks, PAIR), places(marks, PAIR_END)) == (inside, begin, end)


def test_the_distance_is_a_flag(numbers, lists):
    assert places(found(numbers, lists, "1 5 5 5 5 10", pair_distance=4), IN_PAIR) == [0, 5]
    assert places(found(numbers, lists, "1 5 10", pair_distance=0), IN_PAIR) == []


def test_pairs_that_a_row_cuts_off_are_none():
    marks = np.zeros((3, 6), np.int64)
    marks[0, [1, 4]] = IN_PAIR
    marks[0, 1] |= PAIR
    marks[0, 4] |= PAIR_END
    marks[1, 4:] = [IN_PAIR | PAIR, IN_PAIR]  # goes on in the next row
    marks[2, 0] = IN_PAIR | PAIR_END
    begins, last = whole_pairs(marks)
    assert (begins.tolist(), last.tolist()) == ([1], [4])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("好\n", ":1: the line is '好'; it must have the form word<TAB>positive"),
        (
            "好\tpositiv\n",
            "the polarity is 'positiv'; it must be positive or negative. Did you mean 'positive'",
        ),
        ("\n", "the list is empty"),
    ],
)
def test_lists_at_fault(tmp_path, text, message):
    (tmp_path / "list.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_sentiment_words([str(tmp_path / "list.tsv")])


def test_a_list_of_pairs_has_two_columns(tmp_path):
    (tmp_path / "pairs.tsv").write_text("书\t好\tx\n")
    with pytest.raises(DataError, match="it must have the form aspect<TAB>opinion"):
        read_pairs([str(tmp_path / "pairs.tsv")])


def rows_with(count):
    """Rows of 40 tokens: three pairs of two tokens, four sentiment words of two, the rest common ones."""
    rng = np.random.default_rng(0)
    src = rng.integers(50, 90, (count, 40))
    src[:, 0], src[:, -1] = CLS, SEP
    marks = np.zeros(src.shape, np.int64)
    for start in (2, 8, 14):
        marks[:, start] = IN_PAIR | PAIR
        marks[:, start + 2] = IN_PAIR | PAIR_END | IN_WORD | WORD | POSITIVE
    for start in (20, 24, 28, 32):
        marks[:, start : start + 2] = IN_WORD
        marks[:, start] |= WORD
    return src, np.full(count, 40), marks


def test_the_three_steps_of_hiding():
    src, lengths, marks = rows_with(2000)
    masker = SentimentMasker(
        MaskingOptions(mask_rate=0.1), mask_id=MASK, special_ids=(PAD, CLS, SEP, MASK), vocab_size=100
    )
    masked, labels = masker(src, lengths, np.random.default_rng(1), marks)
    hidden = labels != IGNORE
    assert np.array_equal(labels[hidden], src[hidden])
    pairs = np.stack([hidden[:, [at, at + 2]] for at in (2, 8, 14)], axis=1)
    chosen = pairs.all(axis=2)
    assert (chosen.sum(axis=1) == 2).all() and np.allclose(chosen.mean(axis=0), 2 / 3, atol=0.05)
    assert not pairs[..., 0][~chosen].any()  # an aspect is hidden only with its opinion
    words = np.stack([hidden[:, at : at + 2] for at in (20, 24, 28, 32)], axis=1)
    assert np.array_equal(words[..., 0], words[..., 1])  # whole
    single = pairs[..., 1] & ~chosen  # the opinion of a pair that was not chosen is a word as any other
    common = hidden & (marks == 0)
    budget = 4  # a tenth of 40
    spent = words.sum(axis=(1, 2)) + single.sum(axis=1)
    assert (spent <= budget).all() and (spent >= 3).all()
    assert np.array_equal(common.sum(axis=1), budget - spent)
    assert (masked[hidden & (marks != 0)] == MASK).all()
    some = masked[common]
    assert abs((some == MASK).mean() - 0.8) < 0.05 and (some == src[common]).mean() < 0.2


def test_common_tokens_fill_what_words_leave():
    src, lengths, marks = rows_with(50)
    masker = SentimentMasker(MaskingOptions(mask_rate=0.1), mask_id=MASK, special_ids=(2, 3), vocab_size=100)
    _, labels = masker(src, lengths, np.random.default_rng(1), np.zeros_like(marks))
    assert ((labels != IGNORE).sum(axis=1) == 4).all()


CORPUS = "\n".join(f"1 5 10 {n} 20 7 8 9 2 3 6 20 30 31 32 33 34 {n + 40} 11 12" for n in range(60, 90))


@pytest.mark.parametrize("dynamic", [False, True])
def test_labels_of_a_batch(make, lists, dynamic):
    store = make(CORPUS, "skep", dynamic_masking=dynamic, mask_rate=0.2, dup_factor=3, **lists)
    # "11 12" and 20; 10 and "11 12" are four words and more; pairs 1 … 10 and 2 3 … 20.
    counts = store.header["counts"]
    assert (counts["sentiment_words"], counts["sentiment_pairs"]) == (4 * 30, 2 * 30)
    data = PretrainData(store, batch_size=30, masking=MaskingOptions(mask_rate=0.2))
    batch = data.get(0)
    src, labels = batch.inputs["src"], batch.labels
    whole = src.copy()
    for row, pairs in enumerate(labels["pair"].tolist()):
        got = [[number - FIRST for number in pair if number != IGNORE] for pair in pairs]
        assert [pair for pair in got if pair] == [[1, 10], [2, 3, 20]]
        for place, number in zip((1, 3, 9, 10, 12), (1, 10, 2, 3, 20)):
            assert src[row, place] == MASK and labels["mlm"][row, place] == IGNORE
            whole[row, place] = number + FIRST
    whole[labels["mlm"] != IGNORE] = labels["mlm"][labels["mlm"] != IGNORE]
    texts = {tuple(int(word) + FIRST for word in line.split()) for line in CORPUS.split("\n")}
    assert {tuple(row[1:-1]) for row in whole.tolist()} <= texts
    polarity = labels["polarity"]
    asked = polarity != IGNORE
    assert set(whole[asked] - FIRST) <= {10, 11, 12, 20}
    assert np.array_equal(polarity[asked] == 1, whole[asked] != FIRST + 20)
    assert asked[:, [3, 12]].all()  # words of pairs say their polarity too
    assert batch.counts == {
        "mlm": int((labels["mlm"] != IGNORE).sum()),
        "polarity": int(asked.sum()),
        "pair": 60,
    }


def test_a_batch_without_pairs(make, lists):
    store = make("5 6 7\n5 6 10\n", "skep", sentiment_path=lists["sentiment_path"], dynamic_masking=True)
    batch = objective_of(store).batch(store, np.arange(2), np.random.default_rng(0))
    assert batch.counts["pair"] == 0 and batch.labels["pair"].shape == (2, 0, 0)


def test_faults(make, lists, tmp_path):
    with pytest.raises(ConfigError, match="--data_processor skep needs sentiment words"):
        InstanceOptions(data_processor="skep")
    for flag, value in (("sentiment_path", ("a",)), ("pair_path", ("a",)), ("pair_distance", 2)):
        with pytest.raises(
            ConfigError, match=f"--{flag} has no meaning for --data_processor mlm, only for skep"
        ):
            InstanceOptions(data_processor="mlm", **{flag: value})
    with pytest.raises(ConfigError, match="--whole_word_masking has no meaning for --data_processor skep"):
        make(CORPUS, "skep", whole_word_masking=True, **lists)
    with pytest.raises(DataError, match="no sentiment word was found in the text"):
        make("5 6 7", "skep", **lists)
    with pytest.raises(DataError, match="list does not exist; give a file that exists with --sentiment_path"):
        make(CORPUS, "skep", sentiment_path=("none",))
