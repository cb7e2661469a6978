"""What training takes, known before it starts: memory, floating-point operations, and whether it fits.

Weights, gradients and optimiser state are counted. Operations and activations (what a forward pass keeps for
the backward one) are measured on two small parts of a batch and grow in proportion to the real tokens; what
does not grow, such as 16-bit copies of the weights, falls out of the difference. Operations alone take one
part, and a run whose figures nobody reads takes none. On a CPU nothing is multiplied for it.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from uer.config.training import TrainOptions
from uer.data.batch import Batch
from uer.training.flops import recurrent_flops
from uer.training.memory import recompute_layers, recomputed
from uer.training.place import on_this_machine
from uer.training.precision import DTYPES, Precision
from uer.training.runlog import Machine
from uer.training.windows import rows_of, to_tensors
from uer.training.workers import Workers
from uer.utils.logging import logger

SAMPLED = (1, 4)  # rows of the two parts
ROOM = 0.9  # share of the free memory that is planned with: the rest is for what comes and goes within a step


class Pass(NamedTuple):
    """A forward and backward pass."""

    tokens: int
    flops: float
    """of matrix products, forward and backward"""
    activations: float
    """bytes that the forward pass keeps for the backward one"""
    layer: float
    """those of them that the greatest layer keeps; 0 where layers keep nothing"""


@dataclass(frozen=True)
class Estimate:
    """What a step (a batch) takes. All sizes in bytes.

    Attributes:
        parameters, trained: numbers of weights.
        fixed_activations, activations: of a batch; the fixed part is there however few rows there are.
        rows, tokens: of the batch; tokens: real ones.
        flops: floating-point operations of the matrix products of a batch.
        recompute: layers are computed twice.
    """

    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    fixed_activations: float
    activations: float
    rows: int
    tokens: int
    flops: float
    recompute: bool = False

    @property
    def total(self) -> float:
        """Bytes of all."""
        return self.weights + self.gradients + self.optimizer + self.activations

    @property
    def flops_per_token(self) -> float:
        """Operations a real token."""
        return self.flops / max(1, self.tokens)

    def pieces(self, free: float) -> int:
        """The fewest equal pieces of the batch, computed one after another, with which it fits."""
        growing = self.activations - self.fixed_activations
        left = ROOM * free - (self.total - growing)
        return self.rows if left <= 0 else min(self.rows, max(1, math.ceil(growing / left)))

    def in_pieces(self, number: int) -> Estimate:
        """The same with the batch computed in so many pieces."""
        growing = self.activations - self.fixed_activations
        return replace(self, activations=self.fixed_activations + growing / number)

    def machine(self, precision: Precision, workers: int = 1) -> Machine:
        """What a run's figures are held against; a layer computed twice counts once."""
        once = 0.75 if self.recompute else 1.0
        return machine(once * self.flops_per_token, precision, workers)

    def lines(self, free: float, name: str) -> list[str]:
        """What `--dry_run` prints; `free`: bytes; `name`: of the optimiser."""
        fits = self.total <= ROOM * free
        frozen = (
            f", {self.parameters - self.trained:,} of them frozen" if self.trained < self.parameters else ""
        )
        advice = "" if fits else "; try --batch_size auto, --gradient_checkpointing, a smaller batch or model"
        return [
            f"Parameters: {self.parameters:,}{frozen}; {_size(self.weights)}, "
            f"gradients {_size(self.gradients)}",
            f"Optimiser ({name}): {_size(self.optimizer)}",
            f"Activations of a batch of {self.rows} rows ({self.tokens:,} real tokens): "
            f"{_size(self.activations)}",
            f"Floating-point operations of a batch: {self.flops:.3g}",
            f"Together {_size(self.total)} of {_size(free)} that are free: it "
            f"{'fits' if fits else 'does not fit'}{advice}.",
        ]


def machine(flops_per_token: float, precision: Precision, workers: int = 1) -> Machine:
    """What a run's figures are held against; see `operations`."""
    return Machine(flops_per_token, product_rate(precision) * workers, precision.device)


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def estimate(
    model: nn.Module,
    batch: Batch,
    precision: Precision,
    optimizer: torch.optim.Optimizer,
    *,
    device: torch.device,
    recompute: bool = False,
) -> Estimate:
    """What training on batches like this one takes; neither the weights nor torch's generator move.

    Args:
        model: on the device, with frozen parameters marked.
        optimizer: over its parameters.
        recompute: layers keep no activations (`--gradient_checkpointing`).
    """
    small, large = (_sampled(model, some_rows(batch, n), precision, device, recompute) for n in SAMPLED)
    tokens = to_tensors(batch).tokens
    more = max(1, large.tokens - small.tokens)
    slope = (large.activations - small.activations) / more
    params = list(model.parameters())
    trained = [param for param in params if param.requires_grad]
    return Estimate(
        parameters=sum(param.numel() for param in params),
        trained=sum(param.numel() for param in trained),
        weights=_bytes(params),
        gradients=_bytes(trained),
        optimizer=optimizer_bytes(optimizer),
        fixed_activations=max(0.0, small.activations - slope * small.tokens),
        activations=large.activations + slope * (tokens - large.tokens),
        rows=len(batch.ids),
        tokens=tokens,
        recompute=recompute,
        flops=large.flops + (large.flops - small.flops) / more * (tokens - large.tokens),
    )


def _sampled(
    model: nn.Module, batch: Batch, precision: Precision, device: torch.device, recompute: bool
) -> Pass:
    """A pass of training; where layers are computed twice, one of them has its activations at a time."""
    recompute_layers(model, recompute)
    found = one_pass(model, batch, precision, device)
    if not recompute:
        return found
    recompute_layers(model, False)
    layer = one_pass(model, batch, precision, device).layer
    recompute_layers(model, True)
    return found._replace(activations=found.activations + layer)


def operations(model: nn.Module, batch: Batch, precision: Precision, *, device: torch.device) -> float:
    """Operations of a training step a real token, counted on rows of all lengths, in one pass.

    Layers that training computes twice count once. Neither the weights nor torch's generator move.
    """
    recompute_layers(model, False)
    counted = one_pass(model, some_rows(batch, max(SAMPLED)), precision, device)
    return counted.flops / max(1, counted.tokens)


def some_rows(batch: Batch, count: int) -> Batch:
    """Some rows of a batch, of all lengths."""
    seg = next(x for name, x in batch.inputs.items() if "seg" in name)
    number = len(seg)
    lengths = np.count_nonzero(seg.reshape(number, -1), axis=1)  # multiple choice: [B, K, L]
    places = np.linspace(0, number - 1, 2 * min(count, number) + 1).round().astype(int)[1::2]
    return rows_of(batch, np.argsort(lengths, kind="stable")[places])


class Unmultiplied(TorchDispatchMode):
    """Gives zeros for what `FlopCounterMode` counts: shapes are all that matters, and products all that takes
    time. On a GPU they take none either, and are left as they are.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One operation: its result, or zeros of the result's shape and type."""
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        written = func._schema.is_mutable or any(x.device.type != "cpu" for x in tensors)
        if written or func._overloadpacket not in flop_registry:
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(Tensor, lambda x: x.to("meta"), (args, kwargs))
        return tree_map_only(Tensor, lambda x: torch.zeros_like(x, device="cpu"), func(*args, **kwargs))


def one_pass(model: nn.Module, batch: Batch, precision: Precision, device: torch.device) -> Pass:
    """Forward and backward of a batch, counted but not multiplied; gradients are dropped again."""
    converted = to_tensors(batch).to(device)
    training = model.training
    model.train()
    kept = _Kept(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), kept.by_layers():
        with Unmultiplied(), FlopCounterMode(display=False, custom_mapping=recurrent_flops()) as counter:
            with precision.autocast(), saved_tensors_hooks(kept.keep, lambda tensor: tensor):
                terms = model(converted.inputs, converted.labels)
                loss = sum(term.loss_sum for term in terms.values())
            loss.backward()
    model.train(training)
    model.zero_grad(set_to_none=True)
    flops = float(counter.get_total_flops())
    return Pass(converted.tokens, flops, float(sum(kept.sizes.values())), float(max(kept.layers, default=0)))


class _Kept:
    """What autograd keeps of a forward pass: bytes by storage, weights left out, and bytes of each layer."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {param.untyped_storage().data_ptr() for param in model.parameters()}
        self.stack = [layer for module in model.modules() for layer in recomputed(module)]
        self.sizes: dict[int, int] = {}
        self.layers: list[int] = []
        self.within = False

    def keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor, each storage once."""
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if place not in self.weights:
            if self.within and place not in self.sizes:
                self.layers[-1] += size
            self.sizes[place] = size
        return tensor

    @contextlib.contextmanager
    def by_layers(self) -> Iterator[None]:
        """In the block each call of a layer is counted by itself."""

        def enter(*_: Any) -> None:
            self.layers.append(0)
            self.within = True

        def leave(*_: Any) -> None:
            self.within = False

        hooks = [layer.register_forward_pre_hook(enter) for layer in self.stack]
        hooks += [layer.register_forward_hook(leave) for layer in self.stack]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """The state of an optimiser after its first step, known from its groups' shapes."""
    kind = type(optimizer).__name__
    total = 0
    for group in optimizer.param_groups:
        for param in group["params"]:
            whole, size = param.numel() * param.element_size(), param.element_size()
            if kind == "Adafactor" and param.dim() >= 2:
                rows, columns = param.numel() // param.shape[-1], param.numel() // param.shape[-2]
                total += (rows + columns) * size
            elif kind in ("Adafactor", "Lion") or (kind == "Muon" and group.get("matrix")):
                total += whole
            else:
                total += 2 * whole
    return total


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had where a model is trained."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    return min(psutil.virtual_memory().available, *_left_to_group())


def _left_to_group(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes that are left of a limit which a container or a batch system has set, in both ways of Linux."""
    left = []
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError):  # no such file; or "max", no limit
            most, now = (int((root / name).read_text()) for name in (limit, used))
            facts = dict(
                line.split() for line in (root / limit).with_name("memory.stat").read_text().splitlines()
            )
            left.append(max(0, most - now + int(facts.get(cache, 0))))
    return left


def room(found: Estimate, workers: Workers) -> float:
    """Bytes for a run whose weights lie there already: this worker's share of what its machine has."""
    free = free_memory(workers.device)
    if workers.device.type == "cpu":
        free //= on_this_machine(dict(os.environ), workers.size)
    return free + found.weights


def dry_run(found: Estimate, workers: Workers, name: str) -> None:
    """Say it, and end the run.

    Args:
        workers: the processes; the weights lie there already.
        name: of the optimiser.

    Raises:
        SystemExit: always, with exit code 0.
    """
    for text in found.lines(room(found, workers), name):
        logger.info("%s", text)
    logger.info("Nothing was trained or written (--dry_run).")
    raise SystemExit(0)


def settle_pieces(training: TrainOptions, found: Estimate, workers: Workers) -> TrainOptions:
    """The options with `--micro_batches auto` replaced by a number, which is said; every worker must call it.

    It is that of the worker who needs the most: all make as many passes.
    """
    if training.micro_batches != "auto":
        return training
    needed = torch.tensor(float(found.pieces(room(found, workers))))
    number = int(workers.any(needed))  # the greatest of all
    logger.info(
        "A batch of %d rows is computed in %d piece%s (%s of memory).",
        found.rows,
        number,
        "" if number == 1 else "s",
        _size(found.in_pieces(number).total),
    )
    return training.replace(micro_batches=str(number))


def product_rate(precision: Precision) -> float:
    """Operations a second of a large matrix product here, in the precision of a run: the best of some."""
    kind, cpu = DTYPES[precision.name], precision.device.type == "cpu"
    size = 768 if cpu else 8192
    a, b = (torch.ones(size, size, dtype=kind, device=precision.device) for _ in range(2))
    best = math.inf
    for _ in range(4):
        best = min(best, _seconds(a, b))
    return 2 * size**3 / best


def _seconds(a: Tensor, b: Tensor) -> float:
    """How long the product takes."""
    if a.device.type == "cpu":
        from time import perf_counter

        began = perf_counter()
        a @ b
        return perf_counter() - began
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    a @ b
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
