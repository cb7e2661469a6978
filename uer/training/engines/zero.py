"""DeepSpeed's ZeRO 1, 2 and 3: optimiser state, gradients and weights cut over the workers."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from uer.errors import CheckpointError
from uer.layers.attention import MultiHeadedAttention
from uer.training.adamw import Wholes
from uer.training.engines.base import Engine, Tensors, Update, clipping, copy_of
from uer.training.engines.zero_attack import ZeroGround
from uer.training.engines.zero_config import zero_config
from uer.training.unfused import UnfusedOptimizer
from uer.training.workers import Workers
from uer.utils.lazy import optional

if TYPE_CHECKING:
    from uer.config.training import DistributedOptions


class Fragment(NamedTuple):
    """Where this worker's numbers of a parameter lie."""

    name: str
    param: nn.Parameter
    start: int
    """first of them in the flattened parameter"""
    count: int
    place: int
    """first of them in the flat tensor that the optimiser works on"""


class ZeroEngine(Engine):
    """ZeRO (Rajbhandari et al., 2020) by DeepSpeed around our optimiser.

    The optimiser works on flat tensors, each of which holds fragments of many parameters. Weights stay fp32
    and 16-bit products are autocast's, as in all engines. Of a model that does not use all of its weights in
    every step, each weight has a flat tensor of its own, and those without a gradient are passed over.
    """

    whole = False

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        workers: Workers,
        options: DistributedOptions | None = None,
    ) -> None:
        self.partly_used = getattr(model, "partly_used", False)
        self.config = zero_config(Path(options.deepspeed_config), self.partly_used)
        self.stage = self.config["zero_optimization"]["stage"]
        self.shapes = {name: param.shape for name, param in model.named_parameters()}
        self.attacked: ZeroGround | None = None
        self.used: set[str] | None = None
        self.left: set[str] = set()
        super().__init__(model, optimizer, workers, options)
        self.fragments = list(self._fragments())
        optimizer.wholes = ZeroWholes(self)

    def wrap(self) -> nn.Module:
        """DeepSpeed's engine."""
        os.environ.setdefault("DS_ACCELERATOR", self.workers.device.type)
        os.environ.setdefault("LOCAL_RANK", str(self.workers.device.index or 0))
        # Its lines would stand among ours.
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        deepspeed = optional("deepspeed", "deepspeed")
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        # Its exchange through shared memory would be compiled now, which takes minutes and a compiler.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self.deepspeed = deepspeed
        if self.partly_used:
            self._part_groups()
        if self.stage == 2:
            self._project_apart()
        self.inner = self.optimizer.step
        self.optimizer.step = self._inner_step  # called by DeepSpeed, once a group
        self.outer, *_ = deepspeed.initialize(
            model=self.model, optimizer=self.optimizer, config=self.config, dist_init_required=False
        )
        self.zero = self.outer.optimizer
        return self.outer

    def _project_apart(self) -> None:
        """Stage 2 adds up the workers' gradients in the order in which they come, which must not depend on
        the rows of a worker: attention takes its projections together where they are many.
        """
        for module in self.model.modules():
            if isinstance(module, MultiHeadedAttention):
                for linear in module.linear_layers:
                    linear.register_forward_hook(lambda *_: None)  # so each is called by itself

    def _part_groups(self) -> None:
        """Each weight in a group by itself, and note taken of those that get a gradient."""
        self.used = used = set()
        groups = self.optimizer.param_groups
        groups[:] = [
            {**group, "params": [param], "param_names": [name]}
            for group in groups
            for name, param in zip(group["param_names"], group["params"])
        ]
        for name, param in self.named.items():
            param.register_hook(lambda grad, name=name: used.add(name))

    @property
    def flat(self) -> list[Tensor]:
        """The flat tensors that the optimiser works on, this worker's pieces of the trained weights."""
        if self.stage == 3:
            return list(self.zero.fp32_partitioned_groups_flat)
        return list(self.zero.single_partition_of_fp32_groups)

    def _fragments(self) -> Iterator[list[Fragment]]:
        """For each flat tensor the fragments in it, in the order in which all workers have them."""
        names = {id(param): name for name, param in self.named.items()}
        for params in self.zero.fp16_groups if self.stage == 3 else self.zero.bit16_groups:
            yield [Fragment(names[id(param)], param, *self._address(param)) for param in params]

    def _address(self, param: nn.Parameter) -> tuple[int, int, int]:
        """Start, count and place of a fragment; the count is 0 when all numbers are other workers'."""
        if self.stage < 3:
            mapping = param._hp_mapping
            if mapping is None:
                return 0, 0, 0
            inside = mapping.lp_fragment_address
            return inside.start, inside.numel, mapping.get_hp_fragment_address().start
        _, place, size = self.zero.grad_position[self.zero.get_param_id(param)]
        start = min(self.workers.rank * size, param.ds_numel)
        return start, min(size, param.ds_numel - start), place

    def together(self, fragment: Fragment, values: Tensor) -> Tensor:
        """The tensor of which each worker's flat `values` hold a fragment; every worker must call it."""
        shape = self.shapes[fragment.name]
        whole = torch.zeros(shape.numel(), dtype=values.dtype, device=self.workers.device)
        whole[fragment.start : fragment.start + fragment.count] = part(values, fragment)
        return self.workers.sum(whole).view(shape)

    def hold_gradients(self) -> AbstractContextManager:
        """`backward` tells DeepSpeed itself."""
        return contextlib.nullcontext()

    def clear(self) -> None:
        """A step, or leaving one out, forgets the gradients; but stage 3 keeps what no new one replaces."""
        if self.attacked is not None:
            self.attacked.begin()
        if self.used is not None:
            self.used.clear()
            if self.stage == 3:
                self.zero.grad_partitions_flat_buffer.zero_()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Gradients, exchanged as the stage wants it."""
        if self.attacked is not None and self.attacked.looking:
            self.attacked.look(loss)
            return
        last = last and (self.attacked is None or self.attacked.ending)
        self.outer.set_gradient_accumulation_boundary(last)
        self.outer.backward(loss, scale_wrt_gas=False)

    def ground(self) -> ZeroGround:
        """Whole gradients of what an attack moves."""
        self.attacked = ZeroGround(self.model, self)
        return self.attacked

    def step(self, loss: Tensor, *, scale: Tensor | None, max_norm: float) -> Update:
        """DeepSpeed computes the norm and calls the optimiser, which clips and skips."""
        self.scale, self.max_norm = scale, max_norm
        self.skipped = self.workers.any((~torch.isfinite(loss)).float())
        self.left = self._left_out()
        self.outer.step()
        norm = torch.as_tensor(self.zero._global_grad_norm, dtype=torch.float32, device=loss.device)
        if self.zero.overflow:
            self.skipped = torch.ones_like(self.skipped)
        return Update(clipping(norm, scale, max_norm)[0], self.skipped)

    def _left_out(self) -> set[str]:
        """The weights that no worker has a gradient of, in a model that may have such."""
        if self.used is None:
            return set()
        flags = torch.tensor([name in self.used for name in self.named], device=self.workers.device)
        found = self.workers.any(flags.float()).tolist()
        return {name for name, used in zip(self.named, found) if not used}

    def _inner_step(self, closure: None = None) -> None:
        (group,) = (group for group in self.optimizer.param_groups if group["params"])
        if self.left.issuperset(group["param_names"]):
            return
        norm = torch.as_tensor(self.zero._global_grad_norm, dtype=torch.float32, device=self.skipped.device)
        _, divisor = clipping(norm, self.scale, self.max_norm)
        device = group["params"][0].device
        self.inner(grad_scale=divisor.to(device), found_inf=self.skipped.to(device))

    def pieces(self) -> list[Tensor]:
        """The fragments, without what fills the flat tensors up."""
        return [
            part(flat.detach(), fragment)
            for flat, fragments in zip(self.flat, self.fragments)
            for fragment in fragments
        ]

    def fill(self, values: Iterable[Tensor]) -> None:
        """Have the weights be these, in the optimiser and in the model."""
        super().fill(values)
        if self.stage < 3:
            self.zero.update_lp_params()
            return
        self.release()
        for number in range(len(self.fragments)):
            self.zero._reassign_or_swap_out_partitioned_parameters(number)
        self._persist()

    def _persist(self) -> None:
        """Small parameters of stage 3 are kept whole."""
        if self.stage == 3 and self.zero.persistent_parameters:
            self.zero.persistent_parameters[0].all_gather(self.zero.persistent_parameters)

    def weights(self) -> Tensors:
        """All weights; in stage 3 put together one after the other."""
        if self.stage < 3:
            return super().weights()
        out = {}
        owners = dict(self.model.named_parameters(remove_duplicate=False))
        for name, x in {**dict(self.model.named_buffers(remove_duplicate=False)), **owners}.items():
            with self.gathered([x] if name in owners else []):
                if self.workers.is_first:
                    out[name] = copy_of(x)
        return {name: out[name] for name in self.model.state_dict() if name in out}

    def release(self) -> None:
        """Parameters of stage 3 that a pass has put together lie in pieces again."""
        if self.stage == 3:
            self.zero._partition_all_parameters()

    def gathered(self, params: list[nn.Parameter], *, changed: bool = False) -> AbstractContextManager:
        """Parameters are whole in the block; what the first worker changed in them is taken over."""
        kept = params if self.stage == 3 else []
        return self.deepspeed.zero.GatheredParameters(kept, modifier_rank=0 if changed else None)

    def optimizer_state(self) -> Tensors:
        """The state of the optimiser, put together one after the other."""
        state, first, out = self.optimizer.state, self.workers.is_first, {}
        for flat, fragments in zip(self.flat, self.fragments):
            for fragment in fragments:
                found = {**state.get(flat, {}), **state.get(fragment.param, {})}
                for key, value in found.items():
                    whole = value if key in self.optimizer.kept_whole else self.together(fragment, value)
                    if first:
                        out[f"{key}:{fragment.name}"] = copy_of(whole)
        return out

    def load_optimizer_state(self, tensors: Tensors, source: str) -> None:
        """Take this worker's pieces of a whole state."""
        table: dict[str, dict[str, Tensor]] = {}
        kept = self.optimizer.kept_whole
        for full, value in tensors.items():
            key, _, name = full.partition(":")
            if name not in self.named or (key not in kept and value.shape != self.shapes[name]):
                raise CheckpointError(
                    f"{source}: the state of '{name}' does not fit what is trained now; resume with "
                    "the flags and the model of the first run."
                )
            table.setdefault(name, {})[key] = value
        self.optimizer.state.clear()
        for flat, fragments in zip(self.flat, self.fragments):
            for fragment in fragments:
                for key, value in table.get(fragment.name, {}).items():
                    self._take(flat, fragment, key, value)

    def _take(self, flat: Tensor, fragment: Fragment, key: str, value: Tensor) -> None:
        """This worker's piece of one tensor of the state."""
        if key not in self.optimizer.kept_whole:
            state = self.optimizer.state[flat]
            values = state.setdefault(key, torch.zeros_like(flat.detach()))
            part(values, fragment).copy_(numbers(value, fragment))
        else:
            # What looks at whole tensors looks its state up by parameter, and counts steps in main memory.
            counted = isinstance(self.optimizer, UnfusedOptimizer)
            owner, device = (fragment.param, self.workers.device) if counted else (flat, flat.device)
            place = "cpu" if counted and key == "step" else device
            self.optimizer.state[owner][key] = value.to(place).clone()

    @torch.no_grad()
    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Put whole weights in place of those there are."""
        for name, param in self.model.named_parameters():
            if name not in state:  # a frozen partner, whose weights stand elsewhere
                continue
            with self.gathered([param], changed=True):
                if self.stage < 3 or self.workers.is_first:
                    param.copy_(state[name])
        for flat, fragments in zip(self.flat, self.fragments):
            for fragment in fragments:
                part(flat.detach(), fragment).copy_(numbers(state[fragment.name], fragment))
        self._persist()


def part(flat: Tensor, fragment: Fragment) -> Tensor:
    """The numbers of a fragment in a flat tensor of this worker."""
    return flat.narrow(0, fragment.place, fragment.count)


def numbers(whole: Tensor, fragment: Fragment) -> Tensor:
    """The numbers of a fragment in a whole tensor."""
    return whole.flatten().narrow(0, fragment.start, fragment.count)


class ZeroWholes(Wholes):
    """A flat tensor holds fragments of many parameters, whose state lies under the parameters."""

    def __init__(self, engine: ZeroEngine) -> None:
        self.engine = engine

    def _inside(self, piece: Tensor) -> list[Fragment]:
        flats = self.engine.flat
        return self.engine.fragments[next(n for n, flat in enumerate(flats) if flat is piece)]

    def gather(self, piece: Tensor, values: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The parameters in a flat tensor, one after the other."""
        for fragment in self._inside(piece):
            yield fragment.param, self.engine.together(fragment, values)

    def cut(self, piece: Tensor, wholes: Iterable[Tensor]) -> Tensor:
        """The fragments of them, zero where the flat tensor is filled up."""
        out = torch.zeros_like(piece)
        for fragment, whole in zip(self._inside(piece), wholes):
            part(out, fragment).copy_(numbers(whole, fragment))
        return out
