"""Position-wise feed-forward layers: [..., H] → [..., H] through an inner width F."""

from __future__ import annotations

from torch import Tensor, nn

from uer.errors import pick
from uer.layers.activations import activation


class DenseFeedForward(nn.Module):
    """linear_2(act(linear_1(x))) (Vaswani et al. 2017, section 3.3)."""

    def __init__(
        self, hidden_size: int, feedforward_size: int, hidden_act: str, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(hidden_size, feedforward_size, bias=bias)
        self.linear_2 = nn.Linear(feedforward_size, hidden_size, bias=bias)
        self.act = activation(hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        """[..., H] → [..., H]."""
        return self.linear_2(self.act(self.linear_1(x)))


class GatedFeedForward(nn.Module):
    """linear_2(act(linear_gate(x)) · linear_1(x)) (Shazeer 2020)."""

    def __init__(
        self, hidden_size: int, feedforward_size: int, hidden_act: str, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.linear_gate = nn.Linear(hidden_size, feedforward_size, bias=bias)
        self.linear_1 = nn.Linear(hidden_size, feedforward_size, bias=bias)
        self.linear_2 = nn.Linear(feedforward_size, hidden_size, bias=bias)
        self.act = activation(hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        """[..., H] → [..., H]."""
        return self.linear_2(self.act(self.linear_gate(x)) * self.linear_1(x))


FEED_FORWARDS: dict[str, type[nn.Module]] = {"dense": DenseFeedForward, "gated": GatedFeedForward}


def feed_forward(
    name: str, hidden_size: int, feedforward_size: int, hidden_act: str, *, bias: bool = True
) -> nn.Module:
    """The feed-forward layer called `name`; an unknown name is a `ConfigError`."""
    return pick(name, FEED_FORWARDS, "--feed_forward")(hidden_size, feedforward_size, hidden_act, bias=bias)
