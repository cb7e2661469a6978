"""What attention may see. Shapes: S sequences (or B rows), Tq queries, Tk keys (Tk > Tq behind a cache)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from uer.errors import pick
from uer.layers.layout import Layout, real_tokens


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type that matrix products of x are computed in: autocast's where that is on, else x's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def hide(hidden_where: Tensor, dtype: torch.dtype) -> Tensor:
    """An additive mask: the lowest finite number where True, else 0.

    Not -inf: a query that sees nothing (padding on the left) must stay finite, or its NaN would spread.
    """
    return torch.zeros_like(hidden_where, dtype=dtype).masked_fill_(hidden_where, torch.finfo(dtype).min)


def later_keys(queries: int, keys: int, device: torch.device) -> Tensor:
    """[Tq, Tk] bool, True where a key lies behind the query; the last query stands at the last key."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).triu_(keys - queries + 1)


@dataclass(frozen=True, eq=False)
class AttentionMask:
    """What may be seen; built once a forward and shared by all layers."""

    additive: Tensor | None = None
    """float, broadcastable to [S, heads, Tq, Tk], added to the scores; None: nothing is hidden"""
    causal: bool = False
    """besides: key ≤ query, where the last query stands at the last key"""
    parts: tuple[AttentionMask, ...] = ()
    """instead of all this: one mask for each of the layout's parts"""

    def resolved(
        self, queries: int, keys: int, bias: Tensor | None, dtype: torch.dtype, device: torch.device
    ) -> AttentionMask:
        """An equal mask with `bias` merged in, and `causal` left only where it stands alone over a square."""
        if bias is None and not self.causal and (self.additive is None or self.additive.dtype == dtype):
            return self
        causal = self.causal and queries > 1
        additive = self.additive if bias is None else bias if self.additive is None else self.additive + bias
        if causal and (additive is not None or queries != keys):
            later = later_keys(queries, keys, device)
            floor = torch.finfo(dtype).min
            additive = hide(later, dtype) if additive is None else additive.masked_fill(later, floor)
            causal = False
        return AttentionMask(None if additive is None else additive.to(dtype), causal)

    def of_queries(self, places: Tensor, keys: int, dtype: torch.dtype) -> AttentionMask:
        """The mask of some queries, [S, heads, K, Tk], at `places` [S, K] of their sequence."""
        additive = None if self.additive is None else query_rows(self.additive, places)
        if self.causal:
            later = torch.arange(keys, device=places.device) > places[:, :, None]
            causal = hide(later, dtype)[:, None]
            additive = causal if additive is None else torch.minimum(additive, causal)
        return AttentionMask(additive)


def query_rows(scores: Tensor, places: Tensor) -> Tensor:
    """The rows of some queries: [S or 1, A, Tq or 1, Tk] at `places` [S, K] → [S, A, K, Tk]; as it is where
    all rows are one.
    """
    if scores.shape[-2] == 1:
        return scores
    if scores.shape[0] == 1:
        return scores[0].index_select(1, places.flatten()).unflatten(1, places.shape).transpose(0, 1)
    index = places[:, None, :, None].expand(-1, scores.shape[1], -1, scores.shape[3])
    return scores.gather(2, index)


def _fully_visible(seg: Tensor, real: Tensor | None, queries: int, dtype: torch.dtype) -> AttentionMask:
    return AttentionMask(None if real is None else hide(~real, dtype)[:, None, None, :])


def _causal(seg: Tensor, real: Tensor | None, queries: int, dtype: torch.dtype) -> AttentionMask:
    return AttentionMask(None if real is None else hide(~real, dtype)[:, None, None, :], causal=True)


def _causal_with_prefix(seg: Tensor, real: Tensor | None, queries: int, dtype: torch.dtype) -> AttentionMask:
    prefix = seg == 1
    prefix |= (seg <= 0).all(dim=1, keepdim=True)  # a row of zeros: UER hides every key, which hides none
    hidden = ~prefix[:, None, :] & later_keys(queries, seg.shape[1], seg.device)
    if real is not None:
        hidden = hidden | ~real[:, None, :]
    return AttentionMask(hide(hidden, dtype)[:, None])


MASKS = {
    "fully_visible": _fully_visible,
    "causal": _causal,
    "causal_with_prefix": _causal_with_prefix,
}


def self_attention_mask(
    kind: str,
    seg: Tensor,
    *,
    layout: Layout | None = None,
    queries: int | None = None,
    dtype: torch.dtype,
    bias: Callable[[int, int], Tensor] | None = None,
    split: bool = False,
) -> AttentionMask:
    """The mask of self-attention.

    fully_visible: all real keys; causal: keys up to the query; causal_with_prefix: the first text (seg 1)
    whole and the second causally (UniLM, Dong et al. 2019). Keys of padding are hidden from real queries in
    all three; UER leaves them visible under `causal`, which matters only when padding stands in front.

    Args:
        seg: [N] with a layout, else [B, Tk] of all keys, cached ones included.
        queries: Tq, the last ones of the Tk keys; all of them when None.
        dtype: the type of the scores, see `compute_dtype`.
        bias: (Tq, Tk) → [1, heads, Tq, Tk], merged into the mask.
        split: make a mask for each of the layout's parts, if it has some.
    """
    if split and layout is not None and layout.parts:
        common = {"dtype": dtype, "bias": bias}
        return AttentionMask(
            parts=tuple(
                self_attention_mask(kind, seg.index_select(0, part.tokens), layout=part.layout, **common)
                for part in layout.parts
            )
        )
    if layout is not None:
        seg = layout.to_sequences(seg)
        # Under `causal` the gaps behind short sequences are later than every real query, so nothing need be
        # hidden.
        real = None if layout.even or kind == "causal" else layout.real
    else:
        real = key_visibility(seg)
    keys = seg.shape[1]
    queries = queries or keys
    mask = pick(kind, MASKS, "--mask")(seg, real, queries, dtype)
    return mask.resolved(queries, keys, bias and bias(queries, keys), dtype, seg.device)


def key_visibility(seg: Tensor) -> Tensor | None:
    """[B, T] bool of the real keys, or None when all are known to be real.

    Asked on the CPU only, and not while a graph is traced, which must not depend on the numbers of one batch.
    """
    real = real_tokens(seg)
    asked = seg.device.type == "cpu" and not torch.compiler.is_exporting()
    return None if asked and bool(real.all()) else real


def cross_attention_mask(
    memory_seg: Tensor, *, memory_layout: Layout | None = None, dtype: torch.dtype
) -> AttentionMask:
    """The mask of attention to a memory: its real positions. `memory_seg`: as `seg` above."""
    if memory_layout is not None:
        real = None if memory_layout.even else memory_layout.real
    else:
        real = key_visibility(memory_seg)
    return AttentionMask(None if real is None else hide(~real, dtype)[:, None, None, :])
