"""The transformer decoder: causal, with attention to the encoder's output."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from uer.layers.cache import Caches, KVCache, MemoryCache
from uer.layers.layout import Layout
from uer.layers.masks import compute_dtype, cross_attention_mask, self_attention_mask
from uer.layers.output import EncoderOutput
from uer.layers.positions import RelativePositionBias


class TransformerDecoder(nn.Module):
    """Decoder layers over [N, H] with a layout, or [B, T, H].

    Args:
        transformer_decoder: the layers.
        layer_norm: the final norm of a pre-norm stack.
        self_pos_emb: position bias of self-attention, shared by all layers; attention to the memory has none.
    """

    def __init__(
        self,
        *,
        transformer_decoder: nn.ModuleList,
        layer_norm: nn.Module | None = None,
        self_pos_emb: RelativePositionBias | None = None,
    ) -> None:
        super().__init__()
        self.transformer_decoder = transformer_decoder
        self.layer_norm, self.self_pos_emb = layer_norm, self_pos_emb
        self.gradient_checkpointing = False
        """recompute each layer in the backward pass instead of keeping its activations"""

    def forward(
        self,
        hidden: Tensor,
        memory: Tensor,
        *,
        seg: Tensor,
        memory_seg: Tensor,
        layout: Layout | None = None,
        memory_layout: Layout | None = None,
        caches: Caches | None = None,
        all_layers: bool = False,
    ) -> EncoderOutput:
        """Run the stack.

        Args:
            hidden: [N, H] with a layout, else [B, T, H]; seg: [N] or [B, T] of these positions.
            memory: [M, H] with `memory_layout`, else [B, L, H]; memory_seg: [M] or [B, L].
            caches: from `make_caches`; the positions continue those held in it (no `layout` then).
        """
        dtype = compute_dtype(hidden)
        queries = seg.shape[1] if layout is None else layout.max_length
        if caches is not None:
            seg = caches.append_seg(seg)
        mask = self_attention_mask(
            "causal", seg, layout=layout, queries=queries, dtype=dtype, bias=self.self_pos_emb, split=True
        )
        memory_mask = cross_attention_mask(memory_seg, memory_layout=memory_layout, dtype=dtype)
        layers = [hidden]
        for number, layer in enumerate(self.transformer_decoder):
            common = {
                "mask": mask,
                "memory_mask": memory_mask,
                "layout": layout,
                "memory_layout": memory_layout,
                "cache": None if caches is None else caches.layers[number],
                "memory_cache": None if caches is None else caches.memory[number],
            }
            if self.gradient_checkpointing and self.training:
                hidden = checkpoint(layer, hidden, memory, **common, use_reentrant=False)
            else:
                hidden = layer(hidden, memory, **common)
            layers.append(hidden)
        if self.layer_norm is not None:
            hidden = layers[-1] = self.layer_norm(hidden)
        return EncoderOutput(hidden, layers if all_layers else None)

    def make_caches(self, capacity: int) -> Caches:
        """Empty caches with room for `capacity` positions."""
        depth = len(self.transformer_decoder)
        return Caches([KVCache(capacity) for _ in range(depth)], [MemoryCache() for _ in range(depth)])
