"""Layer norms over the last dimension [..., H], with statistics in fp32 at least."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.errors import pick


def at_least_fp32(x: Tensor) -> Tensor:
    """x in fp32, or in fp64 if it is so already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class LayerNorm(nn.Module):
    """The usual layer norm: γ·(x − mean)/√(var + ε) + β, var divided by H (Ba et al. 2016)."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(size))
        self.beta = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """[..., H] → [..., H]."""
        return F.layer_norm(x, self.gamma.shape, self.gamma, self.beta, self.eps)


class UerLayerNorm(LayerNorm):
    """UER-py's own formula: γ·(x − mean)/(std + ε) + β, std divided by H − 1 and ε added to the std."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., H] → [..., H]."""
        std, mean = torch.std_mean(at_least_fp32(x), dim=-1, keepdim=True)
        return (self.gamma * ((x - mean) / (std + self.eps)) + self.beta).to(x.dtype)


class T5LayerNorm(nn.Module):
    """T5's norm: w·x/√(mean(x²) + ε), neither mean nor bias (Zhang and Sennrich 2019)."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """[..., H] → [..., H]."""
        y = at_least_fp32(x)
        y = y * torch.rsqrt(y.square().mean(dim=-1, keepdim=True) + self.eps)
        return (self.weight * y).to(x.dtype)


NORMS: dict[str, type[nn.Module]] = {"normal": LayerNorm, "t5": T5LayerNorm, "uer": UerLayerNorm}


def norm(name: str, size: int, eps: float) -> nn.Module:
    """The norm called `name` over `size` features; an unknown name is a `ConfigError`."""
    return pick(name, NORMS, "--layernorm")(size, eps)
