"""Every Hugging Face family and head against `transformers`, both ways."""

from __future__ import annotations

import pytest

from tests.checkpoints.parity import SCALES, cases, differences, round_trip

TOLERANCE = 1e-5


@pytest.mark.parametrize("std", SCALES)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_same_numbers(case, std, tmp_path):
    found = differences(case, tmp_path, std, seed=5)
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_there_and_back(case, tmp_path):
    assert round_trip(case, tmp_path, SCALES[0], seed=6) == []
