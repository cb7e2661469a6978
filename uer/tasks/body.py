"""What heads read from a body: one vector a sequence, or the hidden states of all tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from uer.config.model import ModelConfig
from uer.embeddings.parts import positions_limit
from uer.encoders.transformer import TransformerEncoder
from uer.layers.activations import activation
from uer.layers.layout import Layout
from uer.layers.pooling import pool
from uer.models.build import build_body
from uer.models.model import Inputs, Model, Side
from uer.tasks.setup import encoder_config

LayoutChoice = Layout | Literal["auto"]
HEAD = (r"output_layer_[12]\.",)
"""names of the parameters of `PooledModel` that a pre-trained file does not hold"""


def pooled(model: Model, kind: str, inputs: Inputs, layout: LayoutChoice = "auto") -> Tensor:
    """One vector a row, [B, H], by the pooling `kind`."""
    return pooled_side(kind, model.source(inputs, layout), model.embedding, model.encoder)


def pooled_stream(model: Model, number: int, kind: str, inputs: Inputs) -> Tensor:
    """One vector a row, [B, H], of stream `number` of a dual model: `src_0`, `seg_0` or `src_1`, `seg_1`."""
    embedding, encoder = model.embedding.dual, getattr(model.encoder, f"encoder_{number}")
    stream = {name[:-2]: x for name, x in inputs.items() if name.endswith(f"_{number}")}
    side = model.source(stream, "auto", limit=positions_limit(embedding.stream(number)))
    return pooled_side(kind, side, partial(embedding, number), encoder)


def pooled_side(kind: str, side: Side, embedding: Callable[..., Tensor], encoder: nn.Module) -> Tensor:
    """One vector a row, [B, H], of what `Model.source` made ready.

    `first` and `last` read one token of each row: there the last layer of a transformer computes no other.
    """
    packed, seg = side.layout, side.streams["seg"]
    hidden = embedding(side.streams)
    if kind in ("first", "last") and isinstance(encoder, TransformerEncoder):
        only = packed.only(packed.first if kind == "first" else packed.last)
        return encoder(hidden, seg, layout=packed, only=only).hidden
    return pool(kind, encoder(hidden, seg, layout=packed).hidden, seg, packed)


def stream_body(whole: Model, number: int) -> Model:
    """The model of one text that stream `number` of a dual model is, with the same parameters."""
    embedding, encoder = whole.embedding.dual.alone(number), getattr(whole.encoder, f"encoder_{number}")
    return Model(whole.config.stream(number), embedding=embedding, encoder=encoder)


class BodyModel(Model):
    """Embedding and encoder of a body; subclasses add a head, and a loss.

    Args:
        body: what it takes them from (`task_body`).
    """

    def __init__(self, body: Model) -> None:
        super().__init__(body.config, embedding=body.embedding, encoder=body.encoder)

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int) -> BodyModel:
        """The model of a configuration."""
        return cls(task_body(config, vocab_size))


class PooledModel(BodyModel):
    """logits = output_layer_2(tanh(output_layer_1(pooled hidden states))); the loss is for subclasses to add.

    The configuration may name another activation (`head_act`), or "none" for a single layer.

    Args:
        body: embedding and encoder (`uer.models.build.build_body`).
        size: width of the logits.
        pooling: first, last, mean or max.
    """

    def __init__(self, body: Model, size: int, *, pooling: str) -> None:
        super().__init__(body)
        self.pooling = pooling
        width, act = body.config.hidden_size, body.config.head_act or "tanh"
        self.output_layer_1 = None if act == "none" else nn.Linear(width, width)
        self.output_layer_2 = nn.Linear(width, size, bias=body.config.head_bias)
        self.act = None if act == "none" else activation(act)

    def logits(self, inputs: Inputs, *, layout: LayoutChoice = "auto") -> Tensor:
        """fp32 [B, size] from `src` and `seg` [B, L]."""
        return self.head(pooled(self, self.pooling, inputs, layout))

    def head(self, vectors: Tensor) -> Tensor:
        """Pooled vectors [B, H] → fp32 [B, size]."""
        if self.output_layer_1 is not None:
            vectors = self.act(self.output_layer_1(vectors))
        return self.output_layer_2(vectors).float()

    def predict(self, inputs: Inputs) -> Tensor:
        """What prediction and evaluation read: the logits."""
        return self.logits(inputs)


def task_body(config: ModelConfig, vocab_size: int) -> Model:
    """Embedding and encoder of a configuration, without decoder and targets."""
    return build_body(encoder_config(config), vocab_size)
