"""What training keeps in memory: freed pages on a CPU, the activations of layers."""

from __future__ import annotations

import contextlib
import ctypes
import sys

from torch import nn

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # numbers of glibc's mallopt(3)


def keep_freed_memory() -> bool:
    """Have freed memory stay with the process instead of going back to the system after every operation.

    A training step allocates and frees the same large tensors again and again. By default glibc maps and
    unmaps each of them, and the kernel clears every page anew: about a fifth of the step of a small model.
        Peak memory
    grows somewhat, since freed pieces are reused rather than returned.

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
