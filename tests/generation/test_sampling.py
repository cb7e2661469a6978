"""What may be drawn, against the warpers of `transformers`; the draw itself against its probabilities."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from uer.config.generation import DecodingOptions
from uer.errors import ConfigError
from uer.generation import sampling
from uer.generation.sampling import Draw, Rules, ban_repeated_ngrams, candidates


def ours(logits, **options):
    """Normalised probabilities [B, V] of what may be drawn."""
    chances, ids = candidates(logits, DecodingOptions(**{"top_k": 0, **options}))
    if ids is not None:
        chances = torch.zeros(logits.shape, dtype=torch.float64).scatter_(1, ids, chances)
    return chances / chances.sum(dim=1, keepdim=True)


def theirs(logits, *, top_k=0, top_p=0.0, min_p=0.0, temperature=1.0):
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p else []
    warpers += [MinPLogitsWarper(min_p)] if min_p else []
    return warpers(torch.zeros(len(logits), 1, dtype=torch.long), logits).double().softmax(dim=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0, "top_k": 7},
        {"top_k": 1000},
        {"top_p": 0.3},
        {"top_p": 0.9, "temperature": 1.5},
        {"top_k": 20, "top_p": 0.7},
        {"min_p": 0.05},
        {"min_p": 0.2, "top_k": 30, "top_p": 0.95, "temperature": 0.8},
    ],
)
def test_distributions_are_theirs(options):
    logits = torch.randn(6, 401, generator=torch.Generator().manual_seed(1)) * 3
    torch.testing.assert_close(ours(logits, **options), theirs(logits, **options), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9, 0.999])
def test_few_likely_tokens_are_looked_at_before_all_are_sorted(monkeypatch, p):
    monkeypatch.setattr(sampling, "LIKELIEST", 16)
    logits = torch.randn(6, 401, generator=torch.Generator().manual_seed(1)) * 3
    wide = logits / 30  # all nearly alike: sixteen do not suffice
    for scores in (logits, wide):
        torch.testing.assert_close(ours(scores, top_p=p), theirs(scores, top_p=p), atol=1e-6, rtol=1e-5)
    assert candidates(logits, DecodingOptions(top_k=0, top_p=0.05))[0].shape[1] == 16
    assert candidates(wide, DecodingOptions(top_k=0, top_p=0.9))[0].shape[1] == 401


def uer_filter(logits, top_k, top_p):
    """UER's rule in plain words, a row at a time."""
    out = []
    for row in logits.tolist():
        kept = dict(enumerate(row))
        if top_k:
            least = sorted(row, reverse=True)[min(top_k, len(row)) - 1]
            kept = {number: value for number, value in kept.items() if value >= least}
        if top_p:
            order = sorted(kept, key=lambda number: -kept[number])
            chances = torch.tensor([kept[number] for number in order], dtype=torch.float64).softmax(0)
            together = chances.cumsum(0).tolist()
            # A token behind the one at which the sum passes p is dropped; the first never is.
            order = [
                number for place, number in enumerate(order) if place == 0 or together[place - 1] <= top_p
            ]
            kept = {number: kept[number] for number in order}
        out.append(set(kept))
    return out


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from([0, 1, 3, 70, 500]), st.sampled_from([0.0, 0.01, 0.5, 0.9, 0.999])
)
def test_the_filter_is_uers(seed, top_k, top_p):
    logits = torch.randn(2, 90, generator=torch.Generator().manual_seed(seed)) * 2
    kept = [set(row.nonzero().flatten().tolist()) for row in ours(logits, top_k=top_k, top_p=top_p)]
    assert kept == uer_filter(logits, top_k, top_p)


@pytest.mark.parametrize("options", [{}, {"top_k": 6}, {"top_p": 0.8}, {"min_p": 0.1}])
def test_draws_follow_the_probabilities(options):
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(4)) * 1.5
    chances = ours(logits, **options)[0]
    draws, rows = 40, 500
    draw = Draw(DecodingOptions(**{"top_k": 0, **options}), [(7, row) for row in range(rows)])
    counts = torch.zeros(12, dtype=torch.float64)
    for _ in range(draws):
        counts += torch.bincount(draw.choose(logits.expand(rows, -1)), minlength=12)
    assert counts[chances == 0].sum() == 0
    spread = (chances * (1 - chances) / (draws * rows)).sqrt()
    assert ((counts / (draws * rows) - chances).abs() <= 4.5 * spread).all()


def test_the_end_of_the_sum_is_never_passed():
    draw = Draw(DecodingOptions(top_k=0), [(0,)])
    draw.streams[0].random = lambda: 1 - 2**-53  # the largest number that can be drawn
    logits = torch.tensor([[0.0, 1.0, -torch.inf, -torch.inf]])
    assert draw.choose(logits).tolist() == [1]


def test_greedy_takes_the_likeliest():
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(2))
    assert Draw(DecodingOptions(top_k=1), [(0,)] * 5).choose(logits).equal(logits.argmax(1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=14), st.integers(1, 4))
def test_banned_ngrams_are_theirs(ids, size):
    history, logits = torch.tensor([ids]), torch.zeros(1, 5)
    expected = NoRepeatNGramLogitsProcessor(size)(history, logits.clone())
    assert ban_repeated_ngrams(logits, history, size).equal(expected)
    padded = torch.cat([torch.full((1, 3), -1), history], dim=1)
    assert ban_repeated_ngrams(logits, padded, size).equal(expected)


def test_rules_follow_rows_that_are_kept():
    options = DecodingOptions(repetition_penalty=2.0, no_repeat_ngram_size=2)
    rules = Rules(options, [[1, 2], [3], [4]], vocab_size=6)
    rules.append(torch.tensor([1, 3, 5]))
    rules.keep(torch.tensor([2, 0]))
    out = rules.apply(torch.ones(2, 6))
    inf = torch.inf
    assert out.tolist() == [[1, 1, 1, 1, 0.5, 0.5], [1, 0.5, -inf, 1, 1, 1]]
    assert rules.apply(-torch.ones(2, 6))[0].tolist() == [-1, -1, -1, -1, -2, -2]


def test_ends_are_banned_until_the_shortest_length():
    rules = Rules(DecodingOptions(min_new_tokens=1), [[1]], vocab_size=4, end_ids=[2])
    assert rules.apply(torch.zeros(1, 4)).isneginf().tolist() == [[False, False, True, False]]
    rules.append(torch.tensor([0]))
    assert not rules.apply(torch.zeros(1, 4)).isneginf().any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beam_size": 2, "top_p": 0.5}, "--top_p 0.5 is for drawing and --beam_size 2 searches"),
        ({"beam_size": 2, "min_p": 0.5}, "--min_p 0.5 is for drawing"),
        ({"beam_size": 2, "temperature": 0.5}, "--temperature 0.5 is for drawing"),
        ({"beam_size": 2, "samples_num": 3}, "--samples_num 3 is more than --beam_size 2"),
        ({"length_penalty": 2.0}, "--length_penalty 2.0 needs --beam_size"),
        ({"min_new_tokens": 3, "max_new_tokens": 2}, "--min_new_tokens 3 is more than --max_new_tokens 2"),
        ({"stop": ("",)}, "--stop has an empty string"),
        ({"temperature": 0.0}, "--temperature is 0.0; it must be a number greater than 0"),
        ({"top_k": -1}, "--top_k is -1"),
        ({"top_p": 1.5}, "--top_p is 1.5; it must be a number from 0 to 1"),
    ],
)
def test_senseless_options(values, message):
    with pytest.raises(ConfigError, match=message):
        DecodingOptions(**values)
