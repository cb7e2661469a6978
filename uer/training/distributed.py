"""Training by several processes with torch's DistributedDataParallel: NCCL for GPUs, gloo for CPUs."""

from __future__ import annotations

import contextlib
import datetime
import faulthandler
import hashlib
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from uer.config.training import DistributedOptions
from uer.errors import EnvironmentFault
from uer.layers.rows import gathered_by
from uer.training.place import ALONE, Place
from uer.training.workers import Workers


class DistributedWorkers(Workers):
    """Processes that each see another part of every batch and keep the same weights.

    What lies in main memory (counts, words, pieces that are offloaded) is exchanged by gloo whatever the
    device is: NCCL knows the memory of GPUs only, and there the host would wait for all that they have to do.

    Raises:
        EnvironmentFault: the processes do not find each other.
    """

    def __init__(self, place: Place, device: torch.device, options: DistributedOptions) -> None:
        super().__init__(device)
        self.rank, self.size, self.timeout = place.rank, place.size, options.timeout
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            timeout = datetime.timedelta(seconds=options.timeout)
            store = meeting_store(place, timeout)
            dist.init_process_group(
                "gloo" if device.type == "cpu" else options.backend,
                init_method=place.url if store is None else None,
                store=store,
                rank=place.rank,
                world_size=place.size,
                timeout=timeout,
            )
            self.hosts = dist.new_group(backend="gloo", timeout=timeout)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise EnvironmentFault(
                f"worker {place.rank} of {place.size} found nobody at {place.url} ({reason}); is the port of "
                "--master_ip free, and does every machine reach it?"
            ) from error

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model in DistributedDataParallel."""
        ids = None if self.device.type == "cpu" else [self.device.index]
        partly = getattr(model, "partly_used", False)
        return DistributedDataParallel(
            model, device_ids=ids, gradient_as_bucket_view=True, find_unused_parameters=partly
        )

    def hold_gradients(self, module: nn.Module) -> AbstractContextManager:
        """No exchange of gradients in the block."""
        return module.no_sync()

    def group(self, x: Tensor) -> dist.ProcessGroup | None:
        """What a tensor is exchanged by."""
        return self.hosts if x.device.type == "cpu" else None

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        values = values.clone()
        dist.all_reduce(values, group=self.group(values))
        return values

    def any(self, flag: Tensor) -> Tensor:
        """1 where any process has 1."""
        flag = flag.clone()
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self.group(flag))
        return flag

    def comparing(self, live: bool) -> AbstractContextManager:
        """Losses that compare the rows of a batch find those of all processes in the block."""
        return gathered_by(partial(self.rows_of_all, live=live))

    def rows_of_all(self, rows: Tensor, *, live: bool = True) -> tuple[Tensor, int]:
        """The rows of all processes, and the place of our first one; see `uer.layers.rows`.

        Rows that are not live stand behind all others, and only their own process has them.
        """
        numbers = self.gathered(len(rows) if live else 0)
        everyone = GatheredRows.apply(rows if live else rows[:0], numbers, self.rank)
        if live:
            return everyone, sum(numbers[: self.rank])
        return torch.cat([everyone, rows]), len(everyone)

    def gathered(self, number: int) -> list[int]:
        """A number of each process.

        Raises:
            EnvironmentFault: another process is lost, or later than `--timeout` allows.
        """
        numbers = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        try:
            dist.all_gather(numbers, torch.full_like(numbers[0], number), group=self.hosts)
        except RuntimeError as error:
            raise self.explained(error) from error
        return torch.cat(numbers).tolist()

    def agree(self, what: str, value: str) -> None:
        """Make sure that all processes were told the same, before the first exchange hangs over it.

        Raises:
            EnvironmentFault: they were not; the message names the ranks.
        """
        digests = self.gathered(int.from_bytes(hashlib.sha256(value.encode()).digest()[:7], "big"))
        others = [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]
        if others:
            raise EnvironmentFault(
                f"{what} of worker {', '.join(others)} differs from that of worker 0; "
                "start all workers with the same command, files and versions."
            )

    def check_ids(self, ids: Sequence[int]) -> None:
        """Make sure that no two processes were dealt the same instances.

        Raises:
            EnvironmentFault: two were; the message names them.
        """
        theirs = self._ids(ids)
        for rank, numbers in enumerate(theirs):
            if len(numbers) > 1 and theirs.index(numbers) != rank:
                raise EnvironmentFault(
                    f"workers {theirs.index(numbers)} and {rank} have the same first batch; start each with "
                    "a rank of its own."
                )

    def _ids(self, ids: Sequence[int]) -> list[tuple[int, ...]]:
        """Those of each process."""
        theirs: list[Any] = [None] * self.size
        dist.all_gather_object(theirs, tuple(int(number) for number in ids), group=self.hosts)
        return theirs

    def of_all(self, ids: Sequence[int]) -> list[int]:
        """Instances of all processes, by turns."""
        turns = itertools.zip_longest(*self._ids(ids))
        return [number for turn in turns for number in turn if number is not None]

    @contextlib.contextmanager
    def unwatched(self) -> Iterator[None]:
        """What is done in the block (evaluation, saving) may take as long as it likes."""
        faulthandler.cancel_dump_traceback_later()
        yield
        self.alive()

    def alive(self) -> None:
        """Called every update; after `--timeout` seconds without, stacks are printed and the process ends."""
        faulthandler.dump_traceback_later(self.timeout, exit=True)

    def finished(self) -> None:
        """What comes now (the last writing, a test) may take as long as it likes."""
        faulthandler.cancel_dump_traceback_later()

    def explained(self, error: RuntimeError) -> Exception:
        """What a failed exchange means."""
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        words = ("gloo", "connection", "nccl", "socket", "timed out")
        if isinstance(error, dist.DistError) or any(word in text.lower() for word in words):
            return EnvironmentFault(f"worker {self.rank} lost another worker ({text[:200]}).")
        return error

    def close(self) -> None:
        """Leave the group."""
        faulthandler.cancel_dump_traceback_later()
        with contextlib.suppress(RuntimeError):
            if "deepspeed" in sys.modules:  # it keeps the group too
                sys.modules["deepspeed"].comm.destroy_process_group()
            else:
                dist.destroy_process_group()


class GatheredRows(torch.autograd.Function):
    """The rows of all processes; a gradient of them is the sum of what all processes have for it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int], rank: int) -> Tensor:
        """[counts[rank], …] → [sum(counts), …]"""
        ctx.first, ctx.count = sum(counts[:rank]), counts[rank]
        padded = rows.new_zeros(max(counts), *rows.shape[1:])  # all processes send as much
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Of the rows of this process."""
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[ctx.first : ctx.first + ctx.count], None, None


def meeting_store(place: Place, timeout: datetime.timedelta) -> dist.Store | None:
    """Where the processes find each other when not by an address: a group of one, or torchrun's own store.

    torchrun keeps its store over a restart, with the addresses of processes that are gone; so each attempt
    has names of its own in it.
    """
    if place.url == ALONE:
        return dist.HashStore()
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    kept, _, _ = next(dist.rendezvous("env://", place.rank, place.size, timeout=timeout))
    return dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", kept)
