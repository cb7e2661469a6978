"""Weights in and out: files, names of all vintages, companions, Hugging Face families, load report.

The names below are resolved on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import Any

from uer.utils.lazy import load

_NAMES = {
    "Companion": "uer.checkpoints.companion:Companion",
    "LoadReport": "uer.checkpoints.report:LoadReport",
    "SEGMENT_TABLE": "uer.checkpoints.loader:SEGMENT_TABLE",
    "adapt_config": "uer.checkpoints.loader:adapt_config",
    "canonical": "uer.checkpoints.aliases:canonical",
    "load_into": "uer.checkpoints.loader:load_into",
    "read_companion": "uer.checkpoints.companion:read_companion",
    "read_state": "uer.checkpoints.io:read_state",
    "remove_checkpoint": "uer.checkpoints.companion:remove_checkpoint",
    "write_state": "uer.checkpoints.companion:write_state",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return load(_NAMES[name])
