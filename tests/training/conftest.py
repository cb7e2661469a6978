"""UER-py's own numbers for optimisers, schedules and attacks (computed by UER-py, 2024)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from uer.utils.logging import logger

FOLDER = Path(__file__).parents[1] / "golden" / "training"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], tuple[dict, dict]]:
    """`golden(case)` → (description, tensors)."""
    return lambda case: (
        json.loads((FOLDER / f"{case}.json").read_text()),
        load_file(FOLDER / f"{case}.safetensors"),
    )


@pytest.fixture
def lines(monkeypatch):
    """What was logged."""
    said: list[str] = []
    monkeypatch.setattr(logger, "info", lambda text, *values: said.append(text % values))
    return said
