"""Adversarial training: a second look at the same batches with embeddings moved where the loss rises most.

An attack is called when the gradients of the plain passes lie in `.grad`. It moves the attacked parameters
(all whose name holds "embedding", each along its own gradient), calls `backward` (forward and backward over
the same batches; gradients add up) and puts the parameters back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from uer.config.training import AdversarialOptions

Backward = Callable[[], None]
Attack = Callable[[Backward], None]


@torch.no_grad()
def _move(param: Tensor, length: float) -> None:
    """One step of the given length along the gradient; none where that is absent, zero or not finite."""
    if param.grad is None:
        return
    norm = param.grad.norm()
    if bool(norm > 0) and bool(torch.isfinite(norm)):
        param.add_(length * param.grad / norm)


@torch.no_grad()
def _project(param: Tensor, centre: Tensor, radius: float) -> None:
    """Back onto the ball around `centre` when outside of it."""
    offset = param - centre
    norm = offset.norm()
    if bool(norm > radius):
        param.copy_(centre + radius * offset / norm)


@torch.no_grad()
def _restore(params: list[nn.Parameter], values: list[Tensor]) -> None:
    for param, value in zip(params, values):
        param.copy_(value)


def fgm(backward: Backward, attacked: list[nn.Parameter], *, epsilon: float) -> None:
    """Fast gradient method (Miyato et al., 2017): one step of length ε, gradients = plain + attacked."""
    start = [param.detach().clone() for param in attacked]
    for param in attacked:
        _move(param, epsilon)
    backward()
    _restore(attacked, start)


def pgd(
    backward: Backward,
    attacked: list[nn.Parameter],
    *,
    params: list[nn.Parameter],
    steps: int,
    epsilon: float,
    alpha: float,
) -> None:
    """Projected gradient descent (Madry et al., 2018): `steps` steps of length α within radius ε.

    The gradients on the way only show the way; what is left is plain + the gradient at the last point.
    """
    start = [param.detach().clone() for param in attacked]
    plain = [None if param.grad is None else param.grad.clone() for param in params]
    for step in range(steps):
        for param, centre in zip(attacked, start):
            _move(param, alpha)
            _project(param, centre, epsilon)
        last = step == steps - 1
        for param, grad in zip(params, plain):
            param.grad = grad if last else None
        backward()
    _restore(attacked, start)


def build_attack(model: nn.Module, options: AdversarialOptions) -> Attack | None:
    """The attack that the options ask for on this model, or None."""
    if not options.use_adv:
        return None
    params = [param for param in model.parameters() if param.requires_grad]
    attacked = [p for name, p in model.named_parameters() if p.requires_grad and "embedding" in name]
    if options.adv_type == "fgm":
        return partial(fgm, attacked=attacked, epsilon=options.fgm_epsilon)
    return partial(
        pgd,
        attacked=attacked,
        params=params,
        steps=options.pgd_k,
        epsilon=options.pgd_epsilon,
        alpha=options.pgd_alpha,
    )
