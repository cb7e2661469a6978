"""What the loop asks of an engine, done for weights that are whole on every worker."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from uer.errors import UerError
from uer.training.adversarial import Ground
from uer.training.optimizers import gradient_norm, load_named_state, named_state
from uer.training.workers import Workers

if TYPE_CHECKING:
    from uer.config.training import DistributedOptions

Tensors = dict[str, Tensor]


class Update(NamedTuple):
    """What came of an update."""

    norm: Tensor
    """of the gradients of all workers, before clipping; scalar"""
    skipped: Tensor
    """1 where it was left out, since loss or gradient was not finite; scalar"""


class Engine:
    """Weights and optimiser state whole on every worker, gradients exchanged (DistributedDataParallel).

    Args:
        model: on the device of `workers`, holding its first weights.
        optimizer: over its parameters; `step(grad_scale=…, found_inf=…)`.
        options: what the engine's flags say; none are needed here.

    Attributes:
        module: what forward is called on.
        whole: whether each worker has all of the weights.
    """

    whole = True

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        workers: Workers,
        options: DistributedOptions | None = None,
    ) -> None:
        self.model, self.optimizer, self.workers = model, optimizer, workers
        self.named = {
            name: param
            for group in optimizer.param_groups
            for name, param in zip(group.get("param_names", ()), group["params"])
        }
        self.params = [param for group in optimizer.param_groups for param in group["params"]]
        self.module = self.wrap()

    def wrap(self) -> nn.Module:
        """The module to call forward on."""
        return self.workers.wrap(self.model)

    def hold_gradients(self) -> AbstractContextManager:
        """Backward passes in the block keep their gradients to themselves (all but a window's last)."""
        return self.workers.hold_gradients(self.module)

    def clear(self) -> None:
        """Forget the gradients."""
        for param in self.params:
            param.grad = None

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Gradients of a loss, added to those there are; `last`: of the window."""
        loss.backward()

    def gradient_norm(self) -> Tensor:
        """Norm of the gradients of all workers together."""
        return gradient_norm(self.params)

    def step(self, loss: Tensor, *, scale: Tensor | None, max_norm: float) -> Update:
        """Clip and update, unless loss or gradient are not finite.

        Args:
            loss: of the window, on this worker.
            scale: what the loss was multiplied by before backward.
            max_norm: gradients are scaled down to it; 0: never.
        """
        norm = self.gradient_norm()
        bad = ~(torch.isfinite(norm) & torch.isfinite(loss))
        skipped = self.workers.any(bad.float())
        norm, divisor = clipping(norm, scale, max_norm)
        self.apply(divisor, skipped)
        return Update(norm, skipped)

    def apply(self, divisor: Tensor, skipped: Tensor) -> None:
        """One step of the optimiser, gradients divided by `divisor`, unless `skipped`."""
        self.optimizer.step(grad_scale=divisor, found_inf=skipped)

    def pieces(self) -> list[Tensor]:
        """The tensors in which this worker keeps its part of the trained weights."""
        return [param.detach() for param in self.params]

    def fill(self, values: Iterable[Tensor]) -> None:
        """Have the weights be these, given as `pieces` gives them; every worker must call it."""
        for piece, value in zip(self.pieces(), values):
            piece.copy_(value)

    def ground(self) -> Ground:
        """The weights and gradients that an attack moves."""
        return Ground(self.model)

    def finite(self) -> bool:
        """Whether all weights are finite, on all workers."""
        bad = ~torch.isfinite(nn.utils.get_total_norm(self.pieces()))
        return not bool(self.workers.any(bad.float()))

    def check_finite(self, step: int) -> None:
        """Refuse to keep weights after `step` batches that are no numbers; every worker must call it.

        Raises:
            UerError: not all of them are finite.
        """
        if not self.finite():
            raise UerError(
                f"the weights are no longer finite at step {step}, so they are not saved; go on from an "
                "earlier checkpoint (--resume) with a lower --learning_rate."
            )

    def weights(self) -> Tensors:
        """Copies in main memory of all weights, whole; every worker must call it, the first one gets them."""
        return copies(self.model.state_dict()) if self.workers.is_first else {}

    def optimizer_state(self) -> Tensors:
        """Copies of `key:parameter` → tensor, whole; every worker must call it, the first one gets them."""
        return copies(named_state(self.optimizer)) if self.workers.is_first else {}

    def load_optimizer_state(self, tensors: Tensors, source: str) -> None:
        """Take over what `optimizer_state` gave, on this engine or another.

        Raises:
            CheckpointError: it is of another model.
        """
        load_named_state(self.optimizer, tensors, source)

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Put whole weights in place of those there are."""
        self.model.load_state_dict(state)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """The model is used outside of training in the block."""
        yield


def clipping(norm: Tensor, scale: Tensor | None, max_norm: float) -> tuple[Tensor, Tensor]:
    """The norm of unscaled gradients, and what scaled ones are divided by."""
    divisor = torch.ones_like(norm) if scale is None else scale
    norm = norm if scale is None else norm / scale
    if max_norm:
        divisor = divisor * (norm / max_norm).clamp(min=1.0)
    return norm, divisor


def copy_of(x: Tensor) -> Tensor:
    """A copy in main memory."""
    return x.detach().to("cpu", copy=True)


def copies(tensors: Mapping[str, Tensor]) -> Tensors:
    """Copies in main memory; names of one tensor share one copy."""
    made: dict[tuple, Tensor] = {}
    out = {}
    for name, x in tensors.items():
        key = (x.device, x.data_ptr(), x.shape, x.stride(), x.dtype) if x.numel() else (name,)
        if key not in made:
            made[key] = copy_of(x)
        out[name] = made[key]
    return out
