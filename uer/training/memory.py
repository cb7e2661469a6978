"""What training keeps in memory: freed pages on a CPU, the activations of layers."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

import psutil
import torch
from torch import nn

from uer.errors import MemoryFault

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # numbers of glibc's mallopt(3)


def keep_freed_memory() -> bool:
    """Have freed memory stay with the process instead of going back to the system after every operation.

    A training step allocates and frees the same large tensors again and again. By default glibc maps and
    unmaps each of them, and the kernel clears every page anew: about a fifth of the step of a small model.
    Peak memory grows somewhat, since freed pieces are reused rather than returned.

    Returns:
        whether it was done; on systems without glibc nothing is.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
    return False


def recompute_layers(model: nn.Module, wanted: bool) -> None:
    """Have encoders and decoders keep no activations inside their layers (Chen et al., 2016)."""
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = wanted


def recomputed(module: nn.Module) -> list[nn.Module]:
    """The layers that a module computes twice when it is told to; none if it has none of that kind."""
    if not hasattr(module, "gradient_checkpointing"):
        return []
    stack = module.transformer if hasattr(module, "transformer") else module.transformer_decoder
    return list(stack) if isinstance(stack, nn.ModuleList) else [stack]


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest moment so far: of the tensors on a GPU, or of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not there on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; the CPU's allocator says so in words only."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError, MemoryFault)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def out_of_memory(error: RuntimeError, device: torch.device) -> MemoryFault | None:
    """What to do about an allocation that failed; None when the error is another one."""
    if not is_out_of_memory(error):
        return None
    return MemoryFault(
        f"memory ran out ({peak_memory(device) / 1e9:.1f} GB were in use at most): type --batch_size auto "
        "(or --micro_batches N: the same batch in pieces), --gradient_checkpointing, or a smaller model; "
        "--dry_run says what a run takes."
    )


class FreedMemory:
    """Gives freed memory back to the system when pieces of ever new sizes have left too much of it behind.

    Batches differ in length, so hardly any freed piece is of the size that is asked for next: while what is
    in use stays the same, free pieces between used ones add up to gigabytes within some thousand updates.

    Args:
        after: updates after which the process has what it needs; checked again each time as many have passed.
        slack: bytes that it may grow by, besides half of what it had then.
    """

    def __init__(self, after: int = 32, slack: int = 1 << 28) -> None:
        self.after, self.slack, self.updates, self.limit = after, slack, 0, 0

    def update(self) -> None:
        """After each update."""
        self.updates += 1
        if self.updates % self.after:
            return
        size = resident_memory()
        if not self.limit:
            self.limit = size + size // 2 + self.slack
        elif size > self.limit:
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
            size = resident_memory()
            if size > self.limit:  # it is in use
                self.limit = size + size // 2 + self.slack


def resident_memory() -> int:
    """Bytes of main memory that this process has; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
