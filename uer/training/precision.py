"""The arithmetic of matrix products: fp32, bf16, fp16, and which of them is fast here.

Weights, gradients, optimiser state and sums stay in fp32 whatever is chosen; only matrix products (and what
autocast lets go with them) are computed in 16 bits.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uer.errors import ConfigError, UerError
from uer.utils.files import atomic_write
from uer.utils.logging import logger

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PROBED_WIDTHS = (128, 256, 512, 1024)
PROBED_ROWS = 512
PROBED_SECONDS = 0.25  # a width
WORTHWHILE = 1.1  # bf16 must be faster by this factor
# fp16's loss scale: start, factor down after an overflow, factor up after so many updates without one.
FIRST_SCALE, BACKOFF, GROWTH, GROWTH_AFTER = 2.0**16, 0.5, 2.0, 2000


class Precision:
    """How forward passes compute, and fp16's loss scaling.

    Attributes:
        name: "fp32", "bf16" or "fp16".
        scale: float32 scalar that losses are multiplied by before backward; None unless fp16.
    """

    def __init__(self, name: str, device: torch.device | str = "cpu") -> None:
        self.name, self.device = name, torch.device(device)
        self.scale = torch.tensor(FIRST_SCALE, device=self.device) if name == "fp16" else None
        self._good = torch.zeros((), device=self.device)

    def autocast(self) -> AbstractContextManager:
        """What forward passes run in."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.name])

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to call backward on."""
        return loss if self.scale is None else loss * self.scale

    def adjust(self, found_inf: Tensor) -> None:
        """Lower fp16's scale after an update that overflowed, raise it after many that did not."""
        if self.scale is None:
            return
        self._good = torch.where(found_inf > 0, torch.zeros_like(self._good), self._good + 1)
        grown = torch.where(self._good >= GROWTH_AFTER, self.scale * GROWTH, self.scale)
        self.scale = torch.where(found_inf > 0, self.scale * BACKOFF, grown)
        self._good = torch.where(self._good >= GROWTH_AFTER, torch.zeros_like(self._good), self._good)

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps of it."""
        return {} if self.scale is None else {"scale": float(self.scale), "good": float(self._good)}

    def load(self, state: dict[str, float]) -> None:
        """Take over what `state` gave."""
        if self.scale is not None and state:
            self.scale, self._good = (
                self.scale.new_tensor(state["scale"]),
                self.scale.new_tensor(state["good"]),
            )


def choose_precision(name: str, device: torch.device | str, width: int) -> tuple[Precision, str]:
    """The precision that a flag asks for, and why, in words.

    Args:
        name: "fp32", "bf16", "fp16", or "auto": bf16 where it is faster for a model of this width.
        width: H, the width of the model.

    Raises:
        ConfigError: fp16 without a GPU.
    """
    device = torch.device(device)
    if name == "fp16" and device.type == "cpu":
        raise ConfigError(
            "--precision fp16 needs a GPU and this run is on the CPU; "
            "type --precision auto (bf16 where this CPU is faster with it), bf16 or fp32."
        )
    if name != "auto":
        return Precision(name, device), "as asked"
    if device.type != "cpu":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision(
            "bf16" if bf16 else "fp32", device
        ), f"auto: this GPU has {'' if bf16 else 'no '}bf16"
    nearest = min(PROBED_WIDTHS, key=lambda probed: abs(probed - width))
    ratio = probe()[str(nearest)]
    better = ratio >= WORTHWHILE
    return Precision("bf16" if better else "fp32", device), (
        f"auto: at width {nearest} bf16 takes {1 / ratio:.2f} of fp32's time on this machine"
    )


def cache_file() -> Path:
    """Where the probe keeps its results."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uer" / "precision.json"


def machine_key() -> str:
    """What the speed of matrix products depends on: processor, its 16-bit instructions, torch, threads."""
    model, flags = platform.machine(), ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            elif name.strip() == "flags":
                flags = " ".join(sorted({"amx_bf16", "avx512_bf16"} & set(value.split())))
                break
    return f"{model} [{flags}], torch {torch.__version__}, {torch.get_num_threads()} threads"


def probe() -> dict[str, float]:
    """Width → how many times faster a feed-forward layer trains in bf16 than in fp32; kept a machine."""
    file, key, known = cache_file(), machine_key(), _known()
    if _complete(known.get(key)):
        return known[key]
    ratios = {str(width): _ratio(width) for width in PROBED_WIDTHS}
    known = _known()  # another process may have measured meanwhile: the first result stands
    if _complete(known.get(key)):
        return known[key]
    try:
        with atomic_write(file) as out:
            json.dump({**known, key: ratios}, out, indent=1)
    except UerError as error:
        logger.info("The speed of bf16 was measured but not kept for the next run: %s", error)
    return ratios


def _known() -> dict[str, dict[str, float]]:
    """What the cache holds; nothing when it is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(cache_file().read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _complete(ratios: Any) -> bool:
    """Whether these are the ratios of all widths."""
    return isinstance(ratios, dict) and all(
        isinstance(ratios.get(str(width)), float) for width in PROBED_WIDTHS
    )


def _ratio(width: int) -> float:
    """Least time of a forward and backward pass through a feed-forward layer in fp32, over that in bf16.

    The two take turns, so that a busy moment of the machine meets both.
    """
    with torch.random.fork_rng(devices=[]):
        inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        layer = nn.Sequential(inner, nn.LayerNorm(width))
        rows = torch.randn(PROBED_ROWS, width)
    best = {"fp32": float("inf"), "bf16": float("inf")}
    end = time.perf_counter() + PROBED_SECONDS
    for turn in range(100):
        for name in best:
            start = time.perf_counter()
            with Precision(name).autocast():
                loss = layer(rows).float().square().mean()
            loss.backward()
            layer.zero_grad()
            if turn:  # the first turn allocates
                best[name] = min(best[name], time.perf_counter() - start)
        if turn and time.perf_counter() > end:
            break
    return best["fp32"] / best["bf16"]
