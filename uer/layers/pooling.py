"""How the hidden states of a sequence become one vector, over its real tokens with equal weights."""

from __future__ import annotations

from torch import Tensor

from uer.errors import pick
from uer.layers.layout import Layout
from uer.layers.norms import at_least_fp32


def _first(hidden: Tensor, layout: Layout) -> Tensor:
    return hidden.index_select(0, layout.first)


def _last(hidden: Tensor, layout: Layout) -> Tensor:
    return hidden.index_select(0, layout.last)


def _mean(hidden: Tensor, layout: Layout) -> Tensor:
    # Padding is 0 in the grid of sequences, so the plain sum is the sum over real tokens.
    return (layout.to_sequences(at_least_fp32(hidden)).sum(dim=1) / layout.lengths[:, None]).to(hidden.dtype)


def _max(hidden: Tensor, layout: Layout) -> Tensor:
    return layout.to_sequences(hidden, fill=float("-inf")).amax(dim=1)


POOLINGS = {"first": _first, "last": _last, "mean": _mean, "max": _max}


def pool(kind: str, hidden: Tensor, seg: Tensor, layout: Layout | None = None) -> Tensor:
    """One vector a sequence, [S, H].

    UER-py weighs the second text twice in `mean` and breaks on it in `last` and `max`; here every real token
    counts once.

    Args:
        kind: first (token), last (real token), mean or max.
        hidden: [N, H] with a layout, else [B, L, H].
        seg: [N] or [B, L], greater than 0 at real tokens.
    """
    function = pick(kind, POOLINGS, "--pooling")
    if layout is None:
        layout = Layout.from_seg(seg)
        hidden = layout.pack(hidden)
    return function(hidden, layout)
