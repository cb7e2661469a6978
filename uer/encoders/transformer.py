"""The transformer encoder: a stack of layers under one mask."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from uer.layers.cache import Caches, KVCache
from uer.layers.layout import Layout, Part
from uer.layers.masks import AttentionMask, compute_dtype, self_attention_mask
from uer.layers.output import EncoderOutput
from uer.layers.positions import RelativePositionBias
from uer.layers.transformer import TransformerLayer


class TransformerEncoder(nn.Module):
    """Transformer layers over [N, H] with a layout, or [B, L, H].

    Args:
        transformer: the layers; a single one is used `layers_num` times (ALBERT's sharing).
        layers_num: N.
        mask: a name of `uer.layers.masks.MASKS`.
        layer_norm: the final norm of a pre-norm stack.
        linear: E → H in front of the first layer (ALBERT's factorisation).
        relative_pos_emb: position bias shared by all layers.
        residual: the layers hand their scores on, so a batch is not split by length.
    """

    def __init__(
        self,
        *,
        transformer: nn.ModuleList | TransformerLayer,
        layers_num: int,
        mask: str,
        layer_norm: nn.Module | None = None,
        linear: nn.Linear | None = None,
        relative_pos_emb: RelativePositionBias | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.transformer, self.layers_num, self.mask = transformer, layers_num, mask
        self.layer_norm, self.linear, self.relative_pos_emb = layer_norm, linear, relative_pos_emb
        self.residual = residual
        self.gradient_checkpointing = False
        """recompute each layer in the backward pass instead of keeping its activations"""

    def forward(
        self,
        hidden: Tensor,
        seg: Tensor,
        *,
        layout: Layout | None = None,
        mask: AttentionMask | None = None,
        caches: Caches | None = None,
        all_layers: bool = False,
        only: Part | None = None,
    ) -> EncoderOutput:
        """Run the stack.

        Args:
            hidden: [N, E] with a layout, else [B, L, E].
            seg: [N] or [B, L] of these positions.
            mask: instead of the one that `self.mask` names.
            caches: from `make_caches`; the positions continue those held in it (no layout then).
            only: some tokens of each sequence in [N, E]; the result is that of these, [K, H], and the last
                layer leaves out what they do not need.
        """
        if self.linear is not None:
            hidden = self.linear(hidden)
        mask = self._mask(hidden, seg, layout, mask, caches)
        layers, scores = [hidden], None
        for number in range(self.layers_num):
            layer = (
                self.transformer[number] if isinstance(self.transformer, nn.ModuleList) else self.transformer
            )
            cache = None if caches is None else caches.layers[number]
            common = {"mask": mask, "layout": layout, "cache": cache, "previous_scores": scores}
            if number == self.layers_num - 1:
                common["only"] = only
                if only is not None and mask.parts:  # few queries: no parts are needed
                    common["mask"] = self._mask(hidden, seg, layout, None, None, split=False)
            if self.gradient_checkpointing and self.training:
                hidden, scores = checkpoint(layer, hidden, **common, use_reentrant=False)
            else:
                hidden, scores = layer(hidden, **common)
            layers.append(hidden)
        if self.layer_norm is not None:
            hidden = layers[-1] = self.layer_norm(hidden)
        return EncoderOutput(hidden, layers if all_layers else None)

    def scores(self, layers: list[Tensor], number: int, layout: Layout) -> Tensor:
        """What the attention of one layer weighs keys by, before masking and softmax: [S, A, T, T].

        Args:
            layers: of `forward`.
            number: of the layer, from 0; -1: the last one.
        """
        number %= self.layers_num
        layer = self.transformer[number] if isinstance(self.transformer, nn.ModuleList) else self.transformer
        scores = layer.scores(layers[number], layout)
        if self.relative_pos_emb is not None:
            scores = scores + self.relative_pos_emb(*scores.shape[-2:])
        return scores

    def _mask(
        self,
        hidden: Tensor,
        seg: Tensor,
        layout: Layout | None,
        mask: AttentionMask | None,
        caches: Caches | None,
        split: bool = True,
    ) -> AttentionMask:
        """The mask with the position bias merged in, for all layers."""
        queries = seg.shape[1] if layout is None else layout.max_length
        if caches is not None:
            seg = caches.append_seg(seg)
        dtype = compute_dtype(hidden)
        bias = self.relative_pos_emb
        if mask is None:
            return self_attention_mask(
                self.mask,
                seg,
                layout=layout,
                queries=queries,
                dtype=dtype,
                bias=bias,
                split=split and not self.residual,
            )
        keys = queries if layout is not None else seg.shape[1]
        return (
            mask if bias is None else mask.resolved(queries, keys, bias(queries, keys), dtype, hidden.device)
        )

    def make_caches(self, capacity: int) -> Caches:
        """Empty caches with room for `capacity` positions."""
        return Caches([KVCache(capacity) for _ in range(self.layers_num)])
