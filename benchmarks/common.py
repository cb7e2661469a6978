"""What the benchmarks share: where real data lies, what machine this is, and the best of some runs."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))


def real_data() -> Path:
    """The folder of real data; the environment variable UER_TEST_DATA names another one.

    Raises:
        SystemExit: it is not there.
    """
    folder = Path(os.environ.get("UER_TEST_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        raise SystemExit(f"real data absent: {folder} (name its folder in UER_TEST_DATA)")
    return folder


def machine() -> str:
    """One line: processor, cores, Python, torch, threads."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return (
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def seconds(job: Callable[[], Any], runs: int = 3) -> tuple[float, Any]:
    """The shortest of some runs of `job`, and what the last one returned."""
    best, result = float("inf"), None
    for _ in range(runs):
        start = time.perf_counter()
        result = job()
        best = min(best, time.perf_counter() - start)
    return best, result


def table(header: tuple[str, ...], rows: list[tuple]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in lines)
