"""Adversarial training: a second look at the same batches with embeddings moved where the loss rises most.

An attack is called when the gradients of the plain passes are there. It moves the attacked parameters (all
whose name holds "embedding", each along its own gradient), calls `backward` (forward and backward over the
same batches; gradients add up) and puts the parameters back. What it stands on (`Ground`) depends on the
engine, which may hold pieces of weights and gradients only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from uer.config.training import AdversarialOptions

if TYPE_CHECKING:
    from uer.training.engines.base import Engine

Backward = Callable[[], None]
Attack = Callable[[Backward], None]


class Ground:
    """The attacked weights and the gradients of all, where each worker has them whole.

    Args:
        model: its trained parameters whose names hold "embedding" are attacked.
    """

    def __init__(self, model: nn.Module) -> None:
        self.params = [param for param in model.parameters() if param.requires_grad]
        self.attacked = {
            name: param
            for name, param in model.named_parameters()
            if param.requires_grad and "embedding" in name
        }
        self.plain: list[Tensor | None] | None = None

    def held(self, x: Tensor) -> Tensor:
        """The numbers of a tensor that this worker has."""
        return x

    def norm(self, x: Tensor) -> Tensor:
        """The norm of a whole tensor, of which `x` is what this worker has."""
        return x.norm()

    @contextmanager
    def restored(self) -> Iterator[list[Tensor]]:
        """Behind the block the weights are what they were; gives these."""
        weights = [self.held(param.detach()) for param in self.attacked.values()]
        before = [x.clone() for x in weights]
        yield before
        for x, value in zip(weights, before):
            x.copy_(value)

    def move(self, length: float, centres: list[Tensor] | None = None, radius: float = 0.0) -> None:
        """One step of the given length along each gradient, and back onto the ball around the centre when
        outside of it; none where a gradient is absent, zero or not finite.
        """
        for number, param in enumerate(self.attacked.values()):
            weight = self.held(param.detach())
            if param.grad is not None:
                grad = self.held(param.grad)
                step_along(weight, grad, self.norm(grad), length)
            if centres is not None:
                offset = weight - centres[number]
                put_back(weight, centres[number], offset, self.norm(offset), radius)

    def set_aside(self) -> None:
        """Keep the gradients of the plain passes, for those to come do not add to them until `final`."""
        self.plain = [None if param.grad is None else param.grad.clone() for param in self.params]

    def forget(self) -> None:
        """The next backward passes only show the way."""
        for param in self.params:
            param.grad = None

    def final(self) -> None:
        """The next backward passes are the last, and add to the gradients of the plain ones."""
        if self.plain is not None:
            for param, grad in zip(self.params, self.plain):
                param.grad = grad
            self.plain = None


def step_along(weight: Tensor, grad: Tensor, norm: Tensor, length: float) -> None:
    """weight ← weight + length · grad / norm, unless the norm is zero or not finite."""
    if bool(norm > 0) and bool(torch.isfinite(norm)):
        weight.add_(length * grad / norm)


def put_back(weight: Tensor, centre: Tensor, offset: Tensor, norm: Tensor, radius: float) -> None:
    """A weight back onto the ball around `centre` when it is outside of it."""
    if bool(norm > radius):
        weight.copy_(centre + radius * offset / norm)


@torch.no_grad()
def fgm(backward: Backward, ground: Ground, *, epsilon: float) -> None:
    """Fast gradient method (Miyato et al., 2017): one step of length ε, gradients = plain + attacked."""
    with ground.restored():
        ground.move(epsilon)
        ground.final()
        with torch.enable_grad():
            backward()


@torch.no_grad()
def pgd(backward: Backward, ground: Ground, *, steps: int, epsilon: float, alpha: float) -> None:
    """Projected gradient descent (Madry et al., 2018): `steps` steps of length α within radius ε.

    The gradients on the way only show the way; what is left is plain + the gradient at the last point.
    """
    with ground.restored() as start:
        ground.set_aside()
        for step in range(steps):
            ground.move(alpha, start, epsilon)
            if step == steps - 1:
                ground.final()
            else:
                ground.forget()
            with torch.enable_grad():
                backward()


def build_attack(
    model: nn.Module, options: AdversarialOptions, engine: Engine | None = None
) -> Attack | None:
    """The attack that the options ask for on this model, as `engine` holds it, or None."""
    if not options.use_adv:
        return None
    ground = Ground(model) if engine is None else engine.ground()
    if options.adv_type == "fgm":
        return partial(fgm, ground=ground, epsilon=options.fgm_epsilon)
    return partial(
        pgd, ground=ground, steps=options.pgd_k, epsilon=options.pgd_epsilon, alpha=options.pgd_alpha
    )
