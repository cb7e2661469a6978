"""DeepSpeed's ZeRO 1, 2 and 3: optimiser state, gradients and weights cut over the workers."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from uer.errors import CheckpointError
from uer.training.engines.base import Engine, Tensors, Update, clipping, copy_of
from uer.training.engines.zero_config import zero_config
from uer.training.workers import Workers
from uer.utils.lazy import optional

if TYPE_CHECKING:
    from uer.config.training import DistributedOptions


class ZeroEngine(Engine):
    """ZeRO (Rajbhandari et al., 2020) by DeepSpeed around our optimiser, which treats numbers one by one.

    Weights stay fp32 and 16-bit products are autocast's, as in all engines.
    """

    whole = False

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        workers: Workers,
        options: DistributedOptions | None = None,
    ) -> None:
        self.config = zero_config(Path(options.deepspeed_config), workers.device)
        self.stage = self.config["zero_optimization"]["stage"]
        self.shapes = {name: param.shape for name, param in model.named_parameters()}
        super().__init__(model, optimizer, workers, options)

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
        self.inner = self.optimizer.step
        self.optimizer.step = self._inner_step  # called by DeepSpeed, once a group
        engine, *_ = deepspeed.initialize(
            model=self.model, optimizer=self.optimizer, config=self.config, dist_init_required=False
        )
        self.zero = engine.optimizer
        return engine

    @property
    def flat(self) -> list[Tensor]:
        """The flat tensors that the optimiser works on, this worker's pieces of the trained weights."""
        if self.stage == 3:
            return list(self.zero.fp32_partitioned_groups_flat)
        return list(self.zero.single_partition_of_fp32_groups)

    def hold_gradients(self) -> AbstractContextManager:
        """`backward` tells DeepSpeed itself."""
        return contextlib.nullcontext()

    def clear(self) -> None:
        """Nothing: a step, or leaving one out, forgets the gradients."""

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Gradients, exchanged as the stage wants it."""
        self.module.set_gradient_accumulation_boundary(last)
        self.module.backward(loss, scale_wrt_gas=False)

    def step(self, loss: Tensor, *, scale: Tensor | None, max_norm: float) -> Update:
        """DeepSpeed computes the norm and calls the optimiser, which clips and skips."""
        self.scale, self.max_norm = scale, max_norm
        self.skipped = self.workers.any((~torch.isfinite(loss)).float())
        self.module.step()
        norm = torch.as_tensor(self.zero._global_grad_norm, dtype=torch.float32, device=loss.device)
        if self.zero.overflow:
            self.skipped = torch.ones_like(self.skipped)
        return Update(clipping(norm, scale, max_norm)[0], self.skipped)

    def _inner_step(self, closure: None = None) -> None:
        norm = torch.as_tensor(self.zero._global_grad_norm, dtype=torch.float32, device=self.skipped.device)
        _, divisor = clipping(norm, self.scale, self.max_norm)
        device = next(p.device for group in self.optimizer.param_groups for p in group["params"])
        self.inner(grad_scale=divisor.to(device), found_inf=self.skipped.to(device))

    def pieces(self) -> list[Tensor]:
        """The flat tensors; in stage 3 without what fills the last piece of each parameter up."""
        if self.stage < 3:
            return [piece.detach() for piece in self.flat]
        return [self._real(param) for param in self.named.values()]

    def _real(self, param: nn.Parameter) -> Tensor:
        piece = param.ds_tensor.detach().flatten()
        before = self.workers.rank * piece.numel()
        return piece[: max(0, min(piece.numel(), param.ds_numel - before))]

    def weights(self) -> Tensors:
        """All weights; in stage 3 put together one after the other."""
        if self.stage < 3:
            return super().weights()
        out = {}
        owners = dict(self.model.named_parameters(remove_duplicate=False))
        for name, x in {**dict(self.model.named_buffers(remove_duplicate=False)), **owners}.items():
            with self.deepspeed.zero.GatheredParameters([x] if name in owners else []):
                if self.workers.is_first:
                    out[name] = copy_of(x)
        return {name: out[name] for name in self.model.state_dict() if name in out}

    def optimizer_state(self) -> Tensors:
        """The state of the optimiser, put together one after the other."""
        from deepspeed.utils import safe_get_full_optimizer_state

        self._link()
        pieces = self.flat
        state = self.optimizer.state.get(pieces[0], {})
        scalars = {key: value for key, value in state.items() if value.dim() == 0}
        cut = [key for key in state if key not in scalars]
        out = {}
        for name, param in self.named.items():
            for key in cut:
                full = safe_get_full_optimizer_state(param, key)
                if self.workers.is_first:
                    out[f"{key}:{name}"] = full.detach().cpu().view(self.shapes[name])
            if self.workers.is_first:
                out.update({f"{key}:{name}": copy_of(value) for key, value in scalars.items()})
        return out

    def _link(self) -> None:
        """Stages 1 and 2 look at the state of all groups: after a first step they know that of one."""
        if self.stage < 3:
            self.zero._hp_optimizer_states_linked = False
            self.zero._lazy_init_hp_params_optimizer_state()

    def load_optimizer_state(self, tensors: Tensors, source: str) -> None:
        """Take this worker's pieces of a whole state."""
        table: dict[str, dict[str, Tensor]] = {}
        for full, value in tensors.items():
            key, _, name = full.partition(":")
            if name not in self.named or (value.dim() and value.shape != self.shapes[name]):
                raise CheckpointError(
                    f"{source}: the state of '{name}' does not fit what is trained now; resume with "
                    "the flags and the model of the first run."
                )
            table.setdefault(key, {})[name] = value
        for piece in self.flat:
            for key, values in table.items():
                first = next(iter(values.values()))
                place = piece.device
                self.optimizer.state[piece][key] = (
                    torch.zeros_like(piece) if first.dim() or key != "step" else first.to(place).clone()
                )
        self._link()
        for key, values in table.items():
            for name, value in values.items():
                if key != "step":
                    self._fill(self.named[name], value.to(self.workers.device), key)

    def _fill(self, param: nn.Parameter, value: Tensor, key: str) -> None:
        """This worker's piece of the state of one parameter."""
        from deepspeed.utils import (
            safe_get_local_optimizer_state,
            safe_set_full_optimizer_state,
            safe_set_local_optimizer_state,
        )

        if self.stage < 3:
            safe_set_full_optimizer_state(param, value, key)
            return
        size = safe_get_local_optimizer_state(param, key).numel()
        padded = nn.functional.pad(value.flatten(), (0, size * self.workers.size - value.numel()))
        safe_set_local_optimizer_state(param, padded[self.workers.rank * size :][:size], key)

    @torch.no_grad()
    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Put whole weights in place of those there are."""
        from deepspeed.utils import safe_set_full_fp32_param

        for name, param in self.model.named_parameters():
            if name not in state:  # a frozen teacher
                continue
            with self.deepspeed.zero.GatheredParameters([param] if self.stage == 3 else [], modifier_rank=0):
                if self.stage < 3 or self.workers.is_first:
                    param.copy_(state[name])
            if name in self.named:
                safe_set_full_fp32_param(param, state[name].to(self.workers.device))
