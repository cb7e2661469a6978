"""Gated convolutions (Dauphin et al. 2017).

Shapes: S sequences, T tokens of the longest, E embedding size, H hidden size, k kernel size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.cache import Caches, StateCache
from uer.layers.layout import Layout
from uer.layers.masks import AttentionMask
from uer.layers.output import EncoderOutput


class GatedcnnEncoder(nn.Module):
    """h = (conv(x) + b)·σ(gate(x) + c) over the last k tokens, layer upon layer, with residual blocks.

    The weights keep UER's shapes of 2-D convolutions and its second biases; both are folded into 1-D ones.

    Args:
        layers_num: N, the first layer E → H included.
        block_size: after so many of the later layers the input of the block is added.
    """

    def __init__(
        self, emb_size: int, hidden_size: int, *, layers_num: int, kernel_size: int, block_size: int
    ) -> None:
        super().__init__()
        self.kernel_size, self.block_size = kernel_size, block_size
        later = range(layers_num - 1)
        self.conv_1 = nn.Conv2d(1, hidden_size, (kernel_size, emb_size))
        self.gate_1 = nn.Conv2d(1, hidden_size, (kernel_size, emb_size))
        self.conv = nn.ModuleList(nn.Conv2d(hidden_size, hidden_size, (kernel_size, 1)) for _ in later)
        self.gate = nn.ModuleList(nn.Conv2d(hidden_size, hidden_size, (kernel_size, 1)) for _ in later)
        self.conv_b1 = nn.Parameter(torch.zeros(1, hidden_size, 1, 1))
        self.gate_b1 = nn.Parameter(torch.zeros(1, hidden_size, 1, 1))
        self.conv_b = nn.ParameterList(torch.zeros(1, hidden_size, 1, 1) for _ in later)
        self.gate_b = nn.ParameterList(torch.zeros(1, hidden_size, 1, 1) for _ in later)

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
        states = [None] * (1 + len(self.conv)) if caches is None else caches.layers
        x = inner.to_sequences(hidden if layout is not None else inner.pack(hidden)).transpose(1, 2)
        x = self._gated(x, self.conv_1, self.gate_1, self.conv_b1, self.gate_b1, inner, states[0])
        outputs, block_input = [x], x
        later = zip(self.conv, self.gate, self.conv_b, self.gate_b, states[1:])
        for number, (conv, gate, conv_b, gate_b, state) in enumerate(later, start=1):
            x = self._gated(x, conv, gate, conv_b, gate_b, inner, state)
            if number % self.block_size == 0:
                x = block_input = x + block_input
            outputs.append(x)
        if caches is not None:
            caches.append_seg(seg)
        layers = [inner.from_sequences(y.transpose(1, 2)) for y in (outputs if all_layers else outputs[-1:])]
        if layout is None:
            layers = [inner.unpack(y) for y in layers]
        return EncoderOutput(layers[-1], [hidden, *layers] if all_layers else None)

    def _gated(
        self,
        x: Tensor,
        conv: nn.Conv2d,
        gate: nn.Conv2d,
        conv_b: Tensor,
        gate_b: Tensor,
        layout: Layout,
        state: StateCache | None,
    ) -> Tensor:
        """[S, C, T] → [S, H, T]; in front stand k − 1 zeros, or the tokens that `state` keeps."""
        if state is None or state.state is None:
            x = F.pad(x, (self.kernel_size - 1, 0))
        else:
            x = torch.cat([state.state[0], x], dim=-1)
        if state is not None:
            last = layout.lengths[:, None] + torch.arange(self.kernel_size - 1, device=x.device)
            state.state = (x.gather(2, last[:, None, :].expand(-1, x.shape[1], -1)),)
        value = F.conv1d(x, _kernel(conv), conv.bias + conv_b.flatten())
        return value * torch.sigmoid(F.conv1d(x, _kernel(gate), gate.bias + gate_b.flatten()))

    def make_caches(self, capacity: int) -> Caches:
        """Empty states; `capacity` does not matter to them."""
        return Caches([StateCache(row_dim=0) for _ in range(1 + len(self.conv))])


def _kernel(conv: nn.Conv2d) -> Tensor:
    """[H, 1, k, E] or [H, C, k, 1] → the kernel of the equal 1-D convolution, [H, C, k]."""
    weight = conv.weight
    return weight.squeeze(1).transpose(1, 2) if weight.shape[1] == 1 else weight.squeeze(3)
