"""A histogram of lengths as lines of text."""

from __future__ import annotations

import numpy as np

WIDTH = 40


def histogram(lengths: np.ndarray, unit: str, bins: int = 10) -> list[str]:
    """Smallest, mean, largest, and a bar for each of some equal ranges."""
    if len(lengths) == 0:
        return [f"no {unit}"]
    low, high = int(lengths.min()), int(lengths.max())
    lines = [f"{unit}: {low:,} to {high:,}, mean {lengths.mean():,.1f}, median {np.median(lengths):,.0f}"]
    step = max(1, -(-(high - low + 1) // bins))
    counts = np.bincount((lengths.astype(np.int64) - low) // step)
    for number, count in enumerate(counts.tolist()):
        first, last = low + number * step, min(low + (number + 1) * step - 1, high)
        bar = "█" * round(WIDTH * count / int(counts.max()))
        name = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        lines.append(f"  {name:>17} {count:>12,} {bar}".rstrip())
    return lines
