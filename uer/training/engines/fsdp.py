"""FSDP2: every tensor is cut into one piece a worker; a layer is put together while it is used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from uer.errors import CheckpointError
from uer.training.adamw import Wholes
from uer.training.adversarial import Ground
from uer.training.engines.base import Engine, Tensors, copy_of
from uer.training.parameters import LAYER
from uer.training.workers import Workers

METHODS = ("predict", "encode", "decode")
"""what is called on a model besides forward"""


class ShardedEngine(Engine):
    """Weights, gradients and optimiser state cut along the first dimension (Zhao et al., 2023).

    The optimiser works on this worker's pieces: plain tensors that share their storage with the sharded
    parameters. One that looks at whole tensors has them put together, one after the other.
    """

    whole = False

    def wrap(self) -> nn.Module:
        """The same module, its parameters replaced by sharded ones: each layer by itself, then the rest."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        self.mesh = init_device_mesh(self.workers.device.type, (self.workers.size,))
        layers = [module for name, module in self.model.named_modules() if LAYER.fullmatch(f"{name}.")]
        for module in (*layers, self.model):
            fully_shard(module, mesh=self.mesh)
        for name in METHODS:
            if hasattr(self.model, name):
                register_fsdp_forward_method(self.model, name)
        for layer in layers:
            if hasattr(layer, "scores"):
                register_fsdp_forward_method(layer, "scores")
        self._take_pieces()
        return self.model

    def _take_pieces(self) -> None:
        """Have the optimiser work on this worker's pieces."""
        self.sharded = dict(self.model.named_parameters())
        for group in self.optimizer.param_groups:
            group["params"] = [self.sharded[name].to_local().detach() for name in group["param_names"]]
        self.named = {
            name: piece
            for group in self.optimizer.param_groups
            for name, piece in zip(group["param_names"], group["params"])
        }
        self.params = list(self.named.values())
        self.optimizer.wholes = ShardedWholes(self)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        self.model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self.model.set_requires_gradient_sync(True)

    def hold_gradients(self) -> AbstractContextManager:
        """No exchange of gradients in the block."""
        return self._held()

    def clear(self) -> None:
        """Forget the gradients."""
        for name, piece in self.named.items():
            piece.grad = self.sharded[name].grad = None

    def gradient_norm(self) -> Tensor:
        """Norm of the gradients of all workers together; the optimiser finds its pieces of them."""
        for name, piece in self.named.items():
            grad = self.sharded[name].grad
            piece.grad = None if grad is None else grad.to_local()
        return torch.sqrt(self.workers.sum(super().gradient_norm().square()))

    def together(self, piece: Tensor, like: Tensor) -> Tensor:
        """The tensor that the workers hold pieces of, cut as `like` is; every worker must call it."""
        from torch.distributed.tensor import DTensor

        return DTensor.from_local(
            piece, like.device_mesh, like.placements, shape=like.shape, stride=like.stride(), run_check=False
        ).full_tensor()

    def piece(self, whole: Tensor, like: Tensor) -> Tensor:
        """This worker's piece of a whole tensor."""
        chunks = torch.chunk(whole, self.workers.size, dim=like.placements[0].dim)
        rank = dist.get_rank(self.mesh.get_group())
        return chunks[rank] if rank < len(chunks) else chunks[0].narrow(like.placements[0].dim, 0, 0)

    def weights(self) -> Tensors:
        """All weights, put together one after the other."""
        self.model.reshard()
        out = {}
        for name, x in self.model.state_dict().items():
            full = x.full_tensor() if hasattr(x, "full_tensor") else x
            if self.workers.is_first:
                out[name] = copy_of(full)
        return out

    def optimizer_state(self) -> Tensors:
        """The state of the optimiser, put together one after the other."""
        out = {}
        for name, piece in self.named.items():
            for key, value in self.optimizer.state.get(piece, {}).items():
                whole = key in self.optimizer.kept_whole
                full = value if whole else self.together(value, self.sharded[name])
                if self.workers.is_first:
                    out[f"{key}:{name}"] = copy_of(full)
        return out

    def load_optimizer_state(self, tensors: Tensors, source: str) -> None:
        """Take this worker's pieces of a whole state."""
        cut = {}
        for full, value in tensors.items():
            key, _, name = full.partition(":")
            like = self.sharded.get(name)
            if like is None or key in self.optimizer.kept_whole:
                cut[full] = value
                continue
            if value.shape != like.shape:
                raise CheckpointError(
                    f"{source}: the state of '{name}' has shape {list(value.shape)}, "
                    f"the model's {list(like.shape)}; resume with the model of the first run."
                )
            cut[full] = self.piece(value, like)
        super().load_optimizer_state(cut, source)

    def fill(self, values: Iterable[Tensor]) -> None:
        """Have the weights be these; what is put together now is cut again first."""
        self.model.reshard()
        super().fill(values)

    def ground(self) -> Ground:
        """The sharded weights and gradients that an attack moves."""
        return ShardedGround(self.model, self.workers)

    @torch.no_grad()
    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Take this worker's pieces of whole weights."""
        self.model.reshard()
        for name, x in self.model.state_dict().items():
            sharded = hasattr(x, "to_local")
            (x.to_local() if sharded else x).copy_(self.piece(state[name], x) if sharded else state[name])

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """What evaluation put together is cut again behind it."""
        yield
        self.model.reshard()


class ShardedWholes(Wholes):
    """Each piece is some rows of one parameter."""

    def __init__(self, engine: ShardedEngine) -> None:
        self.engine = engine
        self.sharded = {id(piece): engine.sharded[name] for name, piece in engine.named.items()}

    def gather(self, piece: Tensor, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The one tensor."""
        yield piece, self.engine.together(values, self.sharded[id(piece)])

    def cut(self, piece: Tensor, wholes: Iterable[Tensor]) -> Tensor:
        """Rows of it."""
        return self.engine.piece(super().cut(piece, wholes), self.sharded[id(piece)])


class ShardedGround(Ground):
    """Weights and gradients of which each worker has some rows."""

    def __init__(self, model: nn.Module, workers: Workers) -> None:
        super().__init__(model)
        self.workers = workers

    def held(self, x: Tensor) -> Tensor:
        """This worker's rows."""
        return x.to_local()

    def norm(self, x: Tensor) -> Tensor:
        """Of the rows of all workers."""
        return torch.sqrt(self.workers.sum(x.norm().square()))
