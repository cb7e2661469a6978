"""The two sides of a model, source and target: token streams made ready for an embedding.

Shapes: B rows, L tokens of a row, N real tokens, H hidden size.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from uer.errors import ConfigError
from uer.layers.cache import Caches
from uer.layers.layout import Layout, row_positions
from uer.layers.output import EncoderOutput

Inputs = dict[str, Tensor]
LayoutChoice = Layout | None | Literal["auto"]


class Side(NamedTuple):
    """One side of a model (source or target) made ready for its embedding."""

    streams: Inputs
    """[N] each with a layout, else [B, L]: "word", "seg", "pos" and what else was given"""
    layout: Layout | None


def ready_side(
    streams: Inputs, layout: LayoutChoice, caches: Caches | None, limit: int | None, flag: str
) -> Side:
    """Streams packed unless `layout` is None, with segments and positions where none were given.

    Args:
        streams: "word" and what else there is, [B, L] each.
        caches: of the tokens before, whose positions are gone on from.
        limit: positions that the model has; None: as many as one likes.
        flag: what to lower when there are more.

    Raises:
        ConfigError: there are more, or a position is given that is not there.
    """
    word = streams["word"]
    seg = streams.setdefault("seg", torch.ones_like(word))
    if layout == "auto":
        layout = Layout.from_seg(seg, streams.get("doc"))
    assert layout is not None or "doc" not in streams, "only a layout keeps documents apart"
    if "pos" in streams:
        _check_positions(streams["pos"], limit)
    else:
        held = 0 if caches is None else caches.length
        check_length(held + (word.shape[1] if layout is None else layout.max_length), limit, flag)
    if layout is not None:
        streams = {name: layout.pack(x) for name, x in streams.items()}
        streams.setdefault("pos", layout.positions)
    elif "pos" not in streams:
        streams["pos"] = row_positions(seg) if caches is None else caches.next_positions(seg)
    return Side(streams, layout)


def check_length(length: int, limit: int | None, flag: str) -> None:
    """Refuse a sequence that is longer than the table of positions.

    Raises:
        ConfigError: it is; the message names `flag`.
    """
    if limit is not None and length > limit:
        raise ConfigError(
            f"a sequence of {length} tokens meets a model of {limit} positions; "
            f"lower {flag} to {limit} or train a model with a larger max_seq_length."
        )


def _check_positions(pos: Tensor, limit: int | None) -> None:
    """Positions that were given are looked at on the CPU only: a GPU would have to wait at every step."""
    if limit is not None and pos.device.type == "cpu" and int(pos.max()) >= limit:
        raise ConfigError(
            f"position {int(pos.max())} is asked for in a model of {limit} positions (0 to {limit - 1}); "
            "shorten the text or train a model with a larger max_seq_length."
        )


def unpacked(out: EncoderOutput, layout: Layout) -> EncoderOutput:
    """[N, H] of a layout → [B, L, H], all layers too."""
    layers = None if out.layers is None else [layout.unpack(x) for x in out.layers]
    return EncoderOutput(layout.unpack(out.hidden), layers, out.memories)
