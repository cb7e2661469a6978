"""What an adversarial attack stands on under ZeRO, which keeps pieces of gradients in places of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from uer.training.adversarial import Ground, put_back, step_along

if TYPE_CHECKING:
    from uer.training.engines.zero import ZeroEngine


class ZeroGround(Ground):
    """Whole gradients of the attacked weights, added up beside those that DeepSpeed keeps.

    Passes whose gradients count go through DeepSpeed, which adds them up and ends with the attack's last one.
    Those that only show the way go past it and ask autograd for the attacked weights alone.

    Attributes:
        looking: whether the next passes only show the way.
        ending: whether the next passes are the last of the window.
    """

    def __init__(self, model: nn.Module, engine: ZeroEngine) -> None:
        super().__init__(model)
        self.engine = engine
        for name, param in self.attacked.items():
            param.register_hook(self._adder(name))
        self.begin()

    def begin(self) -> None:
        """A new window."""
        self.looking, self.ending = False, False
        self.engine.module = self.engine.outer
        self.sums: dict[str, Tensor] = {}

    def _adder(self, name: str) -> Callable[[Tensor], None]:
        def add(grad: Tensor) -> None:
            """Add a gradient, unless the pass only looks."""
            if not self.looking and not self.ending:
                self._add(name, grad)

        return add

    def _add(self, name: str, grad: Tensor) -> None:
        self.sums[name] = grad.detach().clone() if name not in self.sums else self.sums[name] + grad

    def look(self, loss: Tensor) -> None:
        """A backward pass that only shows the way."""
        names, params = zip(*self.attacked.items())
        for name, grad in zip(names, torch.autograd.grad(loss, params, allow_unused=True)):
            if grad is not None:
                self._add(name, grad)

    @contextmanager
    def restored(self) -> Iterator[list[Tensor]]:
        """Behind the block the weights are what they were; gives these, whole."""
        before = []
        self.engine.release()
        for param in self.attacked.values():
            with self.engine.gathered([param]):
                before.append(param.detach().clone())
        yield before
        self.engine.release()
        for param, value in zip(self.attacked.values(), before):
            with self.engine.gathered([param], changed=True):
                param.copy_(value)

    def move(self, length: float, centres: list[Tensor] | None = None, radius: float = 0.0) -> None:
        """As on whole weights; DeepSpeed's own copies of them stay where they are."""
        self.engine.release()
        for number, (name, param) in enumerate(self.attacked.items()):
            grad = self.sums.get(name)
            grad = None if grad is None else self.engine.workers.sum(grad)
            with self.engine.gathered([param], changed=True):
                weight = param.detach()
                if grad is not None:
                    step_along(weight, grad, grad.norm(), length)
                if centres is not None:
                    offset = weight - centres[number]
                    put_back(weight, centres[number], offset, offset.norm(), radius)
        self.sums = {}

    def set_aside(self) -> None:
        """Nothing: what only shows the way is never added to the gradients of the plain passes."""

    def forget(self) -> None:
        """The next backward passes only show the way."""
        self.looking = True
        self.engine.module = self.engine.model

    def final(self) -> None:
        """The next backward passes are the last, and add to the gradients of the plain ones."""
        self.looking, self.ending = False, True
        self.engine.module = self.engine.outer
