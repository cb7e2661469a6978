"""Perplexity against a plain loop over `transformers`' logits; each token is scored exactly once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation import oracle
from uer.data.batch import IGNORE
from uer.errors import DataError
from uer.generation.perplexity import evaluate, windows

LINES = ["一丁丂七丄", "", "万丈三上下丌不与丏丐丑丒专且丕世丗丘丙业丛东丝丞丟丠両丢丣两严並", "丨"]


@given(st.integers(1, 60), st.integers(2, 12), st.data())
def test_every_token_is_a_label_once(count, length, data):
    stride = data.draw(st.integers(1, length - 1))
    ids = np.arange(count) + 100
    labels = []
    for inputs, wanted in windows(ids, length, stride):
        assert len(inputs) == len(wanted) <= length
        new = wanted != IGNORE
        assert (wanted[new] == inputs[new] + 1).all()
        context = np.flatnonzero(new)
        if labels and len(context):
            assert context[0] >= length - stride  # all but the first window have context
        labels += wanted[new].tolist()
    assert labels == ids[1:].tolist()


@pytest.mark.parametrize(("length", "stride"), [(8, 4), (8, 7), (16, 3), (64, 32)])
@torch.no_grad()
def test_perplexity_is_that_of_a_plain_loop(gpt2, model, tokenizer, tmp_path, length, stride):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    nats = tokens = 0
    for line in filter(None, LINES):
        ids = [tokenizer.cls_id, *tokenizer.encode(line)]
        for place in range(1, len(ids)):
            # The first window that holds this token starts at the least multiple of the stride that does.
            start = max(0, math.ceil((place - length) / stride)) * stride
            logits = gpt2(torch.tensor([ids[start:place]])).logits[0, -1].double()
            nats -= float(logits.log_softmax(0)[ids[place]])
            tokens += 1
    score = evaluate(model, tokenizer, path, length=length, stride=stride, batch_size=3)
    assert score.tokens == tokens and score.characters == sum(map(len, LINES))
    assert score.bytes == 3 * score.characters and score.unknown == 0
    assert score.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert score.bits_per_character == pytest.approx(nats / math.log(2) / score.characters, rel=1e-5)
    assert score.bits_per_byte == pytest.approx(score.bits_per_character / 3)


def test_unknown_tokens_are_counted(model, tokenizer, tmp_path):
    (tmp_path / "text.txt").write_text("一xy丁\n", encoding="utf-8")
    assert evaluate(model, tokenizer, tmp_path / "text.txt", length=8, stride=4, batch_size=2).unknown == 2


def test_a_prefix_model_does_not_see_what_it_predicts(tokenizer, tmp_path):
    from uer.models.build import build_model

    torch.manual_seed(0)
    prefix = build_model(oracle.config(mask="causal_with_prefix"), oracle.VOCAB).eval()
    causal = build_model(oracle.config(), oracle.VOCAB).eval()
    causal.load_state_dict(prefix.state_dict())
    (tmp_path / "text.txt").write_text("\n".join(LINES), encoding="utf-8")
    scores = [
        evaluate(m, tokenizer, tmp_path / "text.txt", length=8, stride=4, batch_size=2).nats
        for m in (prefix, causal)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_no_text(model, tokenizer, tmp_path, text):
    (tmp_path / "text.txt").write_text(text)
    with pytest.raises(DataError, match="holds no text"):
        evaluate(model, tokenizer, tmp_path / "text.txt", length=8, stride=4, batch_size=2)
