"""Recurrent encoders. They read real tokens only: a backward direction begins at the last real token.

UER-py reads padding too, so that its outputs depend on the length a row is padded to. Given a `Layout.dense`,
in which padding counts as real, these encoders compute what UER-py does.

Shapes: S sequences, T tokens of the longest, E embedding size, H hidden size.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from uer.errors import ConfigError
from uer.layers.cache import Caches, StateCache
from uer.layers.dropout import Dropout
from uer.layers.layout import Layout, take_rows
from uer.layers.masks import AttentionMask
from uer.layers.output import EncoderOutput

State = tuple[Tensor, ...]


class RecurrentEncoder(nn.Module, ABC):
    """What all recurrent encoders share: layouts, states and the dropout on the output.

    A subclass names its `cell` and reads sequences in `read`.
    """

    cell: type[nn.RNNBase]

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.drop = Dropout(dropout)

    def forward(
        self,
        hidden: Tensor,
        seg: Tensor,
        *,
        layout: Layout | None = None,
        mask: AttentionMask | None = None,
        caches: Caches | None = None,
        all_layers: bool = False,
    ) -> EncoderOutput:
        """hidden [N, E] with a layout, else [B, L, E] → [N, H] or [B, L, H]. There is no mask to give."""
        inner = layout or Layout.from_seg(seg)
        packed = hidden if layout is not None else inner.pack(hidden)
        outputs = self.read(packed, inner, None if caches is None else caches.layers[0], all_layers)
        outputs[-1] = self.drop(outputs[-1])
        if caches is not None:
            caches.append_seg(seg)
        if layout is None:
            outputs = [inner.unpack(x) for x in outputs]
        return EncoderOutput(outputs[-1], [hidden, *outputs] if all_layers else None)

    @abstractmethod
    def read(self, packed: Tensor, layout: Layout, cache: StateCache | None, each: bool) -> list[Tensor]:
        """[N, E] → the output [N, H] of the last layer, or of each."""

    def make_caches(self, capacity: int) -> Caches:
        """An empty state; `capacity` does not matter to it."""
        return Caches([StateCache(row_dim=1)])

    def _stack(self, emb_size: int, width: int, layers_num: int, dropout: float, both: bool) -> nn.RNNBase:
        return self.cell(
            emb_size,
            width,
            num_layers=layers_num,
            dropout=dropout if layers_num > 1 else 0.0,  # torch warns of a rate that has no effect
            bidirectional=both,
            batch_first=True,
        )


def run_stack(
    stack: nn.RNNBase, packed: Tensor, layout: Layout, cache: StateCache | None, each: bool
) -> list[Tensor]:
    """A stack over packed tokens [N, E]; the final state goes to `cache`. Returns as `read` does."""
    sequences = layout.to_sequences(packed)
    if each:
        outputs = []
        for layer, weights in _single_layers(stack):
            outputs.append(_run(layer, weights, outputs[-1] if outputs else sequences, layout)[0])
        return [layout.from_sequences(x) for x in outputs]
    state = None if cache is None else cache.state
    out, state = _run(stack, None, sequences, layout, state, final_state=cache is not None)
    if cache is not None:
        cache.state = state
    return [layout.from_sequences(out)]


def _run(
    stack: nn.RNNBase,
    weights: dict[str, Tensor] | None,
    sequences: Tensor,
    layout: Layout,
    state: State | None = None,
    final_state: bool = False,
) -> tuple[Tensor, State]:
    """One call of torch's module, [S, T, …] → [S, T, …] and the state; with `weights` in place of its own."""
    device = sequences.device.type
    apart = cast_to_fp16(device)
    if apart:
        sequences = sequences.float()
    if state is not None and not isinstance(stack, nn.LSTM):
        state = state[0]
    # Read forwards, a sequence ends before its padding: only the other direction and the final state need the
    # lengths.
    ragged = not layout.even and (stack.bidirectional or final_state)
    if ragged:
        sequences = pack_padded_sequence(
            sequences, layout.lengths.cpu(), batch_first=True, enforce_sorted=False
        )
    with torch.autocast(device, enabled=False) if apart else contextlib.nullcontext():
        if weights is None:
            out, state = stack(sequences, state)
        else:
            out, state = functional_call(stack, weights, (sequences, state))
    if ragged:
        out = pad_packed_sequence(out, batch_first=True, total_length=layout.max_length)[0]
    return out, state if isinstance(state, tuple) else (state,)


def cast_to_fp16(device: str) -> bool:
    """Whether autocast would compute recurrent layers in fp16 although bf16 was chosen.

    It does on a GPU (the weights go into one flat tensor of that type), and with bf16 nobody scales the loss
    so that gradients stay in fp16's range; they are computed in fp32 then.
    """
    bf16 = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    return device == "cuda" and bf16


def _single_layers(stack: nn.RNNBase) -> list[tuple[nn.RNNBase, dict[str, Tensor]]]:
    """The layers of a stack as modules of one layer each and their weights, to see what lies between them."""
    layers = []
    for number in range(stack.num_layers):
        end = f"_l{number}"
        weights = {
            name.replace(end, "_l0"): weight
            for name, weight in stack.named_parameters()
            if name.removesuffix("_reverse").endswith(end)
        }
        size = weights["weight_ih_l0"].shape[1]
        layer = type(stack)(
            size, stack.hidden_size, bidirectional=stack.bidirectional, batch_first=True, device="meta"
        )
        layers.append((layer, weights))
    return layers


class RnnEncoder(RecurrentEncoder):
    """One recurrent stack E → H; `bidirectional` gives each direction H/2 and joins them in each layer.

    Args:
        dropout: rate between the layers and on the output.
    """

    cell: type[nn.RNNBase] = nn.RNN

    def __init__(
        self, emb_size: int, hidden_size: int, *, layers_num: int, dropout: float, bidirectional: bool = False
    ) -> None:
        super().__init__(dropout)
        width = hidden_size // 2 if bidirectional else hidden_size
        self.rnn = self._stack(emb_size, width, layers_num, dropout, bidirectional)

    def read(self, packed: Tensor, layout: Layout, cache: StateCache | None, each: bool) -> list[Tensor]:
        """[N, E] → [N, H] of the last layer, or of each.

        Raises:
            ConfigError: a text is to be continued, and this encoder reads backwards too.
        """
        if cache is not None and self.rnn.bidirectional:
            raise ConfigError("a bidirectional encoder cannot continue a text; choose a one-directional one.")
        return run_stack(self.rnn, packed, layout, cache, each)


class LstmEncoder(RnnEncoder):
    """`RnnEncoder` with long short-term memory (Hochreiter and Schmidhuber 1997)."""

    cell = nn.LSTM


class GruEncoder(RnnEncoder):
    """`RnnEncoder` with gated recurrent units (Cho et al. 2014)."""

    cell = nn.GRU


class BirnnEncoder(RecurrentEncoder):
    """Two independent stacks E → H/2, one reading backwards; the outputs are joined (ELMo)."""

    cell: type[nn.RNNBase] = nn.RNN

    def __init__(self, emb_size: int, hidden_size: int, *, layers_num: int, dropout: float) -> None:
        super().__init__(dropout)
        self.rnn_forward = self._stack(emb_size, hidden_size // 2, layers_num, dropout, False)
        self.rnn_backward = self._stack(emb_size, hidden_size // 2, layers_num, dropout, False)

    def read(self, packed: Tensor, layout: Layout, cache: StateCache | None, each: bool) -> list[Tensor]:
        """[N, E] → [N, H] of the last layer, or of each.

        Raises:
            ConfigError: a text is to be continued, and this encoder reads backwards too.
        """
        if cache is not None:
            raise ConfigError("a bidirectional encoder cannot continue a text; choose a one-directional one.")
        order = layout.reversed
        forward = run_stack(self.rnn_forward, packed, layout, None, each)
        backward = run_stack(self.rnn_backward, take_rows(packed, order), layout, None, each)
        return [torch.cat([x, take_rows(y, order)], dim=-1) for x, y in zip(forward, backward)]


class BilstmEncoder(BirnnEncoder):
    """`BirnnEncoder` with long short-term memory."""

    cell = nn.LSTM


class BigruEncoder(BirnnEncoder):
    """`BirnnEncoder` with gated recurrent units."""

    cell = nn.GRU
