"""The layers of transformer encoders and decoders, composed of attention, feed-forward and norms."""

from __future__ import annotations

from torch import Tensor, nn

from uer.layers.attention import MultiHeadedAttention
from uer.layers.cache import KVCache, MemoryCache
from uer.layers.dropout import Dropout
from uer.layers.layout import Layout, Part, take_rows
from uer.layers.masks import AttentionMask, compute_dtype, query_rows


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each with a residual and a norm.

    post: x₁ = norm_1(x + attn(x)), y = norm_2(x₁ + ffn(x₁)) (Vaswani et al. 2017).
    pre: x₁ = x + attn(norm_1(x)), y = x₁ + ffn(norm_2(x₁)); the stack ends with a norm of its own.
    """

    def __init__(
        self,
        *,
        self_attn: MultiHeadedAttention,
        feed_forward: nn.Module,
        layer_norm_1: nn.Module,
        layer_norm_2: nn.Module,
        dropout: float,
        positioning: str,
    ) -> None:
        super().__init__()
        self.self_attn, self.feed_forward = self_attn, feed_forward
        self.layer_norm_1, self.layer_norm_2 = layer_norm_1, layer_norm_2
        self.dropout = Dropout(dropout)
        self.pre = positioning == "pre"

    def forward(
        self,
        hidden: Tensor,
        *,
        mask: AttentionMask,
        layout: Layout | None = None,
        cache: KVCache | None = None,
        previous_scores: Tensor | None = None,
        only: Part | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """[N, H] or [B, T, H] → the same shape, and the scores when the attention is residual.

        With `only`, some tokens of each sequence, the result is that of these, [K, H], and nothing is
        computed for the others that they do not need.
        """
        if only is not None:
            return self._only(hidden, only, mask, layout, previous_scores), None
        common = {"mask": mask, "layout": layout, "cache": cache, "previous_scores": previous_scores}
        if self.pre:
            out, scores = self.self_attn(self.layer_norm_1(hidden), **common)
            hidden = hidden + self.dropout(out)
            return hidden + self.dropout(self.feed_forward(self.layer_norm_2(hidden))), scores
        out, scores = self.self_attn(hidden, **common)
        hidden = self.layer_norm_1(hidden + self.dropout(out))
        return self.layer_norm_2(hidden + self.dropout(self.feed_forward(hidden))), scores

    def scores(self, hidden: Tensor, layout: Layout) -> Tensor:
        """The attention scores [S, A, T, T] of this layer's input [N, H]."""
        return self.self_attn.scores(self.layer_norm_1(hidden) if self.pre else hidden, layout)

    def _only(
        self,
        hidden: Tensor,
        only: Part,
        mask: AttentionMask,
        layout: Layout,
        previous_scores: Tensor | None,
    ) -> Tensor:
        """Some tokens of each sequence, with all tokens as keys and values."""
        places = only.layout.to_sequences(layout.positions.index_select(0, only.tokens))
        if previous_scores is not None:
            previous_scores = query_rows(previous_scores, places)
        normed = self.layer_norm_1(hidden) if self.pre else hidden
        out, _ = self.self_attn(
            take_rows(normed, only.tokens),
            normed,
            mask=mask.of_queries(places, layout.max_length, compute_dtype(hidden)),
            layout=only.layout,
            memory_layout=layout,
            previous_scores=previous_scores,
        )
        hidden = take_rows(hidden, only.tokens) + self.dropout(out)
        if self.pre:
            return hidden + self.dropout(self.feed_forward(self.layer_norm_2(hidden)))
        hidden = self.layer_norm_1(hidden)
        return self.layer_norm_2(hidden + self.dropout(self.feed_forward(hidden)))


class TransformerDecoderLayer(nn.Module):
    """Self-attention, attention to the encoder's output, feed-forward; norms as in `TransformerLayer`."""

    def __init__(
        self,
        *,
        self_attn: MultiHeadedAttention,
        context_attn: MultiHeadedAttention,
        feed_forward: nn.Module,
        layer_norm_1: nn.Module,
        layer_norm_2: nn.Module,
        layer_norm_3: nn.Module,
        dropout: float,
        positioning: str,
    ) -> None:
        super().__init__()
        self.self_attn, self.context_attn, self.feed_forward = self_attn, context_attn, feed_forward
        self.layer_norm_1, self.layer_norm_2, self.layer_norm_3 = layer_norm_1, layer_norm_2, layer_norm_3
        self.dropout = Dropout(dropout)
        self.pre = positioning == "pre"

    def forward(
        self,
        hidden: Tensor,
        memory: Tensor,
        *,
        mask: AttentionMask,
        memory_mask: AttentionMask,
        layout: Layout | None = None,
        memory_layout: Layout | None = None,
        cache: KVCache | None = None,
        memory_cache: MemoryCache | None = None,
    ) -> Tensor:
        """hidden [N, H] or [B, T, H] → the same shape."""

        def attend(x: Tensor) -> Tensor:
            """To the tokens before."""
            return self.self_attn(x, mask=mask, layout=layout, cache=cache)[0]

        def look_back(x: Tensor) -> Tensor:
            """To what the encoder read."""
            return self.context_attn(
                x, memory, mask=memory_mask, layout=layout, memory_layout=memory_layout, cache=memory_cache
            )[0]

        norms = (self.layer_norm_1, self.layer_norm_2, self.layer_norm_3)
        for norm, sublayer in zip(norms, (attend, look_back, self.feed_forward)):
            if self.pre:
                hidden = hidden + self.dropout(sublayer(norm(hidden)))
            else:
                hidden = norm(hidden + self.dropout(sublayer(hidden)))
        return hidden
