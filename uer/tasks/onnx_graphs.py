"""What is written as ONNX: a model on padded rows, without a branch that depends on the data.

Shapes: B rows, L tokens, T target or new tokens, P tokens held, A heads, d head size, H hidden size, V
vocabulary; all but A, d, H and V are free in a graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from uer.encoders.gatedcnn import GatedcnnEncoder
from uer.encoders.recurrent import RecurrentEncoder, RnnEncoder
from uer.encoders.transformer import TransformerEncoder
from uer.errors import ConfigError
from uer.layers.cache import Caches, MemoryCache, StateCache
from uer.layers.layout import Layout, real_tokens, row_positions
from uer.models.model import Model

HEADS = {"mlm": "mlm", "lm": "lm"}
Free = dict[str, dict[int, Any]]
"""input → dimension → its name in the graph (`torch.export.Dim`)"""


class Graph(nn.Module, ABC):
    """A module whose inputs and outputs have names.

    Attributes:
        inputs, outputs: their names, in the order of `forward`.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @abstractmethod
    def sample(self, rows: int, held: int, new: int) -> dict[str, Tensor]:
        """Random inputs, over `held` + `new` tokens or over `new` ones behind `held`."""

    @abstractmethod
    def free(self, length: int) -> Free:
        """The free dimensions; `length` is the most tokens of a row."""

    def counts(self, given: dict[str, Tensor]) -> Tensor | None:
        """Where the first output means something, [B, L] bool; None: everywhere."""
        return None


class TextGraph(Graph):
    """src, seg int64 [B, L] → hidden states [B, L, H] or logits: [B, L, …] of tokens, [B, C] of rows.

    Rows are padded on the right; `seg` is 0 there.

    Args:
        model: its encoder is written; a decoder is not.
        head: "none", "mlm", "lm", "cls" or "tok".
        vocab_size: of random inputs.
    """

    inputs = ("src", "seg")

    def __init__(self, model: Model, head: str, vocab_size: int) -> None:
        super().__init__()
        self.model, self.head, self.vocab_size = model, head, vocab_size
        self.outputs = ("hidden" if head == "none" else "logits",)
        encoder = model.encoder
        if isinstance(encoder, RnnEncoder) and encoder.rnn.bidirectional:
            model.encoder = TurnedLayers(encoder.rnn)
        elif isinstance(encoder, RecurrentEncoder):
            for name, stack in list(encoder.named_children()):
                setattr(encoder, name, gated(stack))
        assert isinstance(encoder, (TransformerEncoder, RecurrentEncoder, GatedcnnEncoder))

    def forward(self, src: Tensor, seg: Tensor) -> Tensor:
        """src, seg [B, L] → what the head makes of them."""
        model, real = self.model, real_tokens(seg)
        hidden = model.embedding({"word": src, "seg": seg, "pos": row_positions(seg)})
        if isinstance(model.encoder, TransformerEncoder):
            hidden = model.encoder(hidden, seg).hidden
        else:
            grid = Grid.of(real)
            hidden = model.encoder(hidden.flatten(0, 1), seg.flatten(), layout=grid).hidden
            hidden = hidden.unflatten(0, (grid.rows, grid.length))
        if self.head in HEADS:
            return model.target.get_submodule(self.head).logits(hidden)
        if self.head == "tok":
            return model.output_layer(hidden)
        return self._of_rows(hidden, real) if self.head == "cls" else hidden

    def _of_rows(self, hidden: Tensor, real: Tensor) -> Tensor:
        model, real = self.model, real.unsqueeze(2)
        if model.pooling == "first":
            vectors = hidden[:, 0]
        elif model.pooling == "mean":
            vectors = (hidden * real).sum(dim=1) / real.sum(dim=1)
        elif model.pooling == "max":
            vectors = hidden.masked_fill(~real, torch.finfo(hidden.dtype).min).amax(dim=1)
        else:
            last = (real.sum(dim=1, keepdim=True) - 1).expand(-1, 1, hidden.shape[2])
            vectors = hidden.gather(1, last)[:, 0]
        if model.output_layer_1 is not None:
            vectors = model.act(model.output_layer_1(vectors))
        return model.output_layer_2(vectors)

    def sample(self, rows: int, held: int, new: int) -> dict[str, Tensor]:
        """Two texts in each row, the first row padded."""
        length = held + new
        seg = torch.ones(rows, length, dtype=torch.long)
        seg[:, length // 2 :] = 2
        seg[0, max(1, length - 2) :] = 0
        return {"src": random_ids(rows, length, self.vocab_size), "seg": seg}

    def free(self, length: int) -> Free:
        """See `Graph.free`: rows and their length."""
        # Loops over tokens leave conditions behind that no declared range meets, though every length does.
        looped = isinstance(self.model.encoder, RecurrentEncoder)
        tokens = torch.export.Dim.AUTO if looped else torch.export.Dim("length", max=length)
        axes = {0: torch.export.Dim("batch"), 1: tokens}
        return {"src": axes, "seg": axes}

    def counts(self, given: dict[str, Tensor]) -> Tensor | None:
        """See `Graph.counts`: the real tokens, or all rows."""
        return None if self.head == "cls" else given["seg"] > 0


class StepGraph(Graph):
    """A causal language model behind what it has read: src [B, T], seg [B, P + T] int64, past
    [layers, 2, B, A, P, d] → logits [B, T, V], present [layers, 2, B, A, P + T, d].

    Present is the past of the next step; the first step has a past of no tokens. Rows are padded on the left,
    where `seg` is 0.
    """

    inputs, outputs = ("src", "seg", "past"), ("logits", "present")

    def __init__(self, model: Model, vocab_size: int) -> None:
        super().__init__()
        encoder = model.encoder
        if not isinstance(encoder, TransformerEncoder) or encoder.mask == "fully_visible":
            raise ConfigError(
                "--with_past writes the keys and values of causal transformers and of decoders; "
                f"this model has --encoder {model.config.encoder}: leave --with_past out."
            )
        self.model, self.vocab_size = model, vocab_size

    def forward(self, src: Tensor, seg: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of the new tokens, and all that is held behind them; see the class for the shapes."""
        held = past.shape[4]
        caches = given_caches(past)
        caches.seg = seg[:, :held]
        new = seg[:, held:]
        hidden = self.model.embedding({"word": src, "seg": new, "pos": row_positions(seg)[:, held:]})
        hidden = self.model.encoder(hidden, new, caches=caches).hidden
        return self.model.target.lm.logits(hidden), torch.stack([layer.held for layer in caches.layers])

    def sample(self, rows: int, held: int, new: int) -> dict[str, Tensor]:
        """The first row is padded in front."""
        seg = torch.ones(rows, held + new, dtype=torch.long)
        seg[0, : held // 2] = 0
        depth, past = self.model.encoder.layers_num, random_past(self.model, rows, held)
        return {
            "src": random_ids(rows, new, self.vocab_size),
            "seg": seg,
            "past": past.expand(depth, -1, -1, -1, -1, -1).contiguous(),
        }

    def free(self, length: int) -> Free:
        """See `Graph.free`: rows, new tokens, tokens held."""
        batch, auto = torch.export.Dim("batch"), torch.export.Dim.AUTO
        return {"src": {0: batch, 1: auto}, "seg": {0: batch, 1: auto}, "past": {2: batch, 4: auto}}


class DecoderGraph(Graph):
    """A decoder: tgt_in [B, T], memory [B, L, H], memory_seg [B, L] → logits [B, T, V].

    With `past` [layers, 2, B, A, P, d] behind them and `present` behind the logits, as in `StepGraph`.
    """

    def __init__(self, model: Model, vocab_size: int, *, with_past: bool) -> None:
        super().__init__()
        self.model, self.vocab_size = model, vocab_size
        past, present = (("past",), ("present",)) if with_past else ((), ())
        self.inputs = ("tgt_in", "memory", "memory_seg", *past)
        self.outputs = ("logits", *present)

    def forward(self, tgt_in: Tensor, memory: Tensor, memory_seg: Tensor, past: Tensor | None = None) -> Any:
        """The logits, and with `past` all that is held behind them; see the class for the shapes."""
        model, seg = self.model, torch.ones_like(tgt_in)
        held, caches = 0, None
        if past is not None:
            held, caches = past.shape[4], given_caches(past)
            caches.seg = seg.new_ones(past.shape[2], held)
        places = torch.arange(held, held + tgt_in.shape[1], device=seg.device).expand_as(tgt_in)
        hidden = model.tgt_embedding({"word": tgt_in, "seg": seg, "pos": places})
        hidden = model.decoder(hidden, memory, seg=seg, memory_seg=memory_seg, caches=caches).hidden
        logits = model.target.lm.logits(hidden)
        return logits if caches is None else (logits, torch.stack([layer.held for layer in caches.layers]))

    def sample(self, rows: int, held: int, new: int) -> dict[str, Tensor]:
        """The source of the first row is padded."""
        model, length = self.model, held + new + 2
        seg = torch.ones(rows, length, dtype=torch.long)
        seg[0, length // 2 :] = 0
        draw = torch.Generator().manual_seed(rows * length)
        out = {
            "tgt_in": random_ids(rows, new, self.vocab_size),
            "memory": torch.randn(rows, length, model.config.hidden_size, generator=draw),
            "memory_seg": seg,
        }
        if "past" in self.inputs:
            depth = len(model.decoder.transformer_decoder)
            past = random_past(model, rows, held)
            out["past"] = past.expand(depth, -1, -1, -1, -1, -1).contiguous()
        return out

    def free(self, length: int) -> Free:
        """See `Graph.free`: rows, tokens of both sides, tokens held."""
        batch, source = torch.export.Dim("batch"), torch.export.Dim("source_length")
        target = torch.export.Dim("target_length")
        out: Free = {
            "tgt_in": {0: batch, 1: target},
            "memory": {0: batch, 1: source},
            "memory_seg": {0: batch, 1: source},
        }
        return (
            {**out, "past": {2: batch, 4: torch.export.Dim("past_length")}} if "past" in self.inputs else out
        )


def random_ids(rows: int, length: int, vocab_size: int) -> Tensor:
    """int64 [rows, length], the same at every call."""
    return torch.randint(vocab_size, (rows, length), generator=torch.Generator().manual_seed(rows * length))


def random_past(model: Model, rows: int, held: int) -> Tensor:
    """Keys and values of one layer, [1, 2, B, A, P, d]."""
    config = model.config
    draw = torch.Generator().manual_seed(rows + held)
    return torch.randn(1, 2, rows, config.heads_num, held, config.head_size, generator=draw)


class _Given:
    """The cache of a layer whose keys and values [2, B, A, P, d] came from outside."""

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """See `KVCache.append`."""
        self.held = torch.cat([self.held, torch.stack([k, v])], dim=3)
        return self.held[0], self.held[1]


def given_caches(past: Tensor) -> Caches:
    """Caches that hold `past` [layers, 2, B, A, P, d]; attention to a memory is computed anew."""
    return Caches([_Given(layer) for layer in past.unbind(0)], [MemoryCache() for _ in range(past.shape[0])])


@dataclass(frozen=True, eq=False)
class Grid(Layout):
    """Rows padded on the right, every place of the grid computed; a sequence turned around leaves its padding
    behind, so that real tokens get what they get without it.
    """

    turned: Tensor
    """[B·L] places that turn the real tokens of each row around"""

    @classmethod
    def of(cls, real: Tensor) -> Grid:
        """The grid of a batch; `real` [B, L] bool."""
        rows, length = real.shape
        place = torch.arange(length, device=real.device).expand(rows, length)
        lengths = real.sum(dim=1)
        turned = torch.where(real, lengths[:, None] - 1 - place, place)
        turned = turned + torch.arange(rows, device=real.device)[:, None] * length
        every = torch.arange(rows * length, device=real.device)
        return cls(rows, length, every, lengths, lengths, every, length, turned.flatten())

    @property
    def even(self) -> bool:
        """Padding is computed, so all rows are equally long."""
        return True

    @property
    def reversed(self) -> Tensor:
        """See `Layout.reversed`."""
        return self.turned


class TurnedLayers(RecurrentEncoder):
    """A bidirectional stack as layers of one direction, the second over rows turned around by their lengths.

    Args:
        stack: torch's module, whose parameters are shared.
    """

    def __init__(self, stack: nn.RNNBase) -> None:
        super().__init__(dropout=0.0)
        ends = ("", "_reverse")
        self.layers = nn.ModuleList(
            nn.ModuleList(gated(_one_way(stack, number, end)) for end in ends)
            for number in range(stack.num_layers)
        )

    def read(self, packed: Tensor, layout: Layout, cache: StateCache | None, each: bool) -> list[Tensor]:
        """See `RecurrentEncoder.read`; only the last layer's output."""
        order = layout.reversed
        for forward, backward in self.layers:
            one = layout.from_sequences(forward(layout.to_sequences(packed))[0])
            turned = layout.to_sequences(packed.index_select(0, order))
            other = layout.from_sequences(backward(turned)[0]).index_select(0, order)
            packed = torch.cat([one, other], dim=-1)
        return [packed]


def _one_way(stack: nn.RNNBase, number: int, end: str) -> nn.RNNBase:
    """One direction of one layer of a stack, with the parameters of the stack."""
    suffix = f"_l{number}{end}"
    size = getattr(stack, f"weight_ih{suffix}").shape[1]
    layer = type(stack)(size, stack.hidden_size, batch_first=True, device="meta")
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(layer, f"{name}_l0", getattr(stack, f"{name}{suffix}"))
    return layer


def gated(stack: nn.RNNBase) -> nn.RNNBase:
    """A plain recurrence as gated units whose gates never move, which the exporter knows; others as they are.

    h' = (1 - z)·tanh(Wx + b + r·(Uh + c)) + z·h, where a bias of ±40 makes r = 1 and z = 0 in fp32.
    """
    if not isinstance(stack, nn.RNN):
        return stack
    made = nn.GRU(stack.input_size, stack.hidden_size, stack.num_layers, batch_first=True)
    for name, own in stack.named_parameters():
        values = torch.zeros(3, *own.shape)
        values[2] = own.detach()
        if name.startswith("bias_ih"):
            values[0], values[1] = 40.0, -40.0
        setattr(made, name, nn.Parameter(values.flatten(0, 1), requires_grad=False))
    return made
