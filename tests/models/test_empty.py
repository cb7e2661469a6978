"""Models to be filled from a file: no number is drawn, and a strict load gives all of them."""

from __future__ import annotations

import pytest
import torch

from tests.models.zoo import DECODERS, ENCODERS, small
from uer.models.build import build_model
from uer.models.empty import Unfilled


def test_nothing_is_drawn():
    before = torch.get_rng_state()
    with Unfilled():
        layer = torch.nn.Linear(64, 64)
        table = torch.nn.Embedding(64, 64)
    assert torch.equal(torch.get_rng_state(), before)
    assert layer.weight.shape == table.weight.shape == (64, 64)
    torch.nn.Linear(64, 64)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])
def test_the_state_of_a_model_fills_another_wholly(name):
    model = small(name, target=("lm",))
    with Unfilled():
        other = build_model(model.config, model.embedding.word.embedding.num_embeddings)
    for parameter in other.parameters():  # whatever was in the memory
        parameter.data.fill_(float("nan"))
    other.load_state_dict(model.state_dict())
    for (name, tensor), (_, expected) in zip(other.state_dict().items(), model.state_dict().items()):
        assert torch.equal(tensor, expected), name
    assert not any(buffer.isnan().any() for buffer in other.buffers())
