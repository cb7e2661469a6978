"""Embeddings: the sum, the norm, positions of every kind, two streams."""

from __future__ import annotations

import math

import pytest
import torch

from uer.config.model import EMBEDDINGS as NAMES
from uer.config.model import ModelConfig
from uer.embeddings import EMBEDDINGS
from uer.embeddings.dual import DualEmbedding
from uer.embeddings.embedding import Embedding
from uer.embeddings.parts import (
    PosEmbedding,
    SegEmbedding,
    SinusoidalPosEmbedding,
    WordEmbedding,
    positions_limit,
)
from uer.errors import ConfigError
from uer.layers.norms import LayerNorm
from uer.layers.positions import sinusoids_2021, sinusoids_2024
from uer.models.build import build_embedding
from uer.utils.lazy import load

STREAMS = {
    "word": torch.tensor([[3, 1, 0], [4, 4, 2]]),
    "pos": torch.tensor([[0, 1, 2], [0, 1, 0]]),
    "seg": torch.tensor([[1, 2, 0], [1, 1, 2]]),
}


def parts() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {"word": WordEmbedding(5, 4), "pos": PosEmbedding(6, 4), "seg": SegEmbedding(4)}


def test_table_holds_the_names_of_the_configuration() -> None:
    assert tuple(EMBEDDINGS) == NAMES
    assert all(issubclass(load(target), torch.nn.Module) for target in EMBEDDINGS.values())


def test_sum_norm_and_names() -> None:
    built = parts()
    embedding = Embedding(built, layer_norm=LayerNorm(4), dropout=0.5).eval()
    tables = [built[name].embedding.weight[STREAMS[name]] for name in ("word", "pos", "seg")]
    torch.testing.assert_close(
        embedding(STREAMS), torch.nn.functional.layer_norm(sum(tables), (4,), eps=1e-6)
    )
    assert sorted(embedding.state_dict()) == [
        "layer_norm.beta", "layer_norm.gamma", "pos.embedding.weight", "seg.embedding.weight",
        "word.embedding.weight",
    ]  # fmt: skip
    plain = Embedding(built, layer_norm=None, dropout=0.5)
    torch.testing.assert_close(plain.eval()(STREAMS), sum(tables))
    assert bool((plain.train()(STREAMS) == 0).any())


def test_any_leading_shape() -> None:
    embedding = Embedding(parts(), layer_norm=None, dropout=0.0)
    flat = embedding({name: ids.flatten() for name, ids in STREAMS.items()})
    assert torch.equal(flat, embedding(STREAMS).flatten(0, 1))


def test_sinusoidal_positions_scale_the_words() -> None:
    for kind, table in (("2021", sinusoids_2021(6, 4)), ("2024", sinusoids_2024(8, 4)[2:])):
        config = ModelConfig(
            emb_size=4,
            hidden_size=4,
            heads_num=1,
            max_seq_length=6,
            embedding=("word", "sinusoidalpos"),
            sinusoid=kind,
        )
        embedding = build_embedding(config, config.embedding, 5).eval()
        expected = embedding.word.embedding.weight[STREAMS["word"]] * math.sqrt(4) + table[STREAMS["pos"]]
        if kind == "2024":
            expected = torch.nn.functional.layer_norm(expected, (4,), eps=1e-6)
        torch.testing.assert_close(embedding(STREAMS), expected)
        assert "sinusoidalpos.table" not in embedding.state_dict()
        # The target side: scaled with the source's sinusoids in 2024, with its own in 2021.
        target = build_embedding(config, ("word",), 5)
        assert (target.word.factor is None) == (kind == "2021")


def test_the_number_of_positions() -> None:
    assert positions_limit(Embedding(parts(), layer_norm=None, dropout=0.0)) == 6
    assert positions_limit(WordEmbedding(5, 4)) is None
    for kind in ("2021", "2024"):
        assert positions_limit(SinusoidalPosEmbedding(7, 4, sinusoid=kind)) == 7


@pytest.mark.parametrize("normed", [False, True])
def test_two_streams(normed: bool) -> None:
    first = Embedding(parts(), layer_norm=None, dropout=0.0)
    second = Embedding({"word": WordEmbedding(5, 4)}, layer_norm=None, dropout=0.0)
    norms = (LayerNorm(4), LayerNorm(4)) if normed else None
    dual = DualEmbedding(first, second, norms=norms)
    for number, embedding in enumerate((first, second)):
        expected = embedding(STREAMS)
        if normed:
            expected = torch.nn.functional.layer_norm(expected, (4,), eps=1e-6)
        torch.testing.assert_close(dual(number, STREAMS), expected)
    assert ("stream_0_layer_norm.gamma" in dual.state_dict()) == normed


def test_tasks_are_added_and_default_to_the_first():
    config = ModelConfig(embedding=("word", "task"), tasks_num=4)
    embedding = build_embedding(config, config.embedding, 9)
    ids = torch.tensor([[1, 2], [3, 4]])
    tasks = torch.tensor([[3, 3], [0, 2]])
    rows = embedding.task.embedding.weight
    assert torch.equal(embedding.task({"word": ids, "task": tasks}), rows[tasks])
    assert torch.equal(embedding.task({"word": ids}), rows[0])


def test_words_alone_are_widened():
    config = ModelConfig(
        heads_num=2,
        emb_size=4,
        hidden_size=8,
        factorized_embedding_parameterization=True,
        factorized_part="word",
        embedding=("word",),
    )
    word = build_embedding(config, config.embedding, 9).word
    ids = torch.tensor([1, 5])
    expected = word.embedding.weight[ids] @ word.projection.weight
    assert torch.equal(word({"word": ids}), expected) and expected.shape == (2, 8)


def test_widened_words_need_two_widths():
    with pytest.raises(ConfigError, match="factorized_part word needs factorized_embedding_parameterization"):
        ModelConfig(factorized_part="word")
