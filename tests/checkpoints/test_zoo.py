"""Numbers that other programs gave once and that were frozen, for the families our key maps cover."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoints.zoo import check, class_of

# Oracles that cannot be run here: their numbers are kept in the repository.
OURS = sorted((Path(__file__).parents[1] / "golden" / "zoo").glob("*.json"))
TOLERANCE, TENSORFLOW = 1e-5, 2e-5


def _checked(path, folder):
    found = check(path, folder)
    allowed = TENSORFLOW if class_of(path) == "albert_zh" else TOLERANCE
    assert len(found) > 1 and max(found.values()) <= allowed, (path.stem, found)
    assert all(value == 0 for name, value in found.items() if name.endswith("back")), found


@pytest.mark.parametrize("path", [path for path in OURS if class_of(path)], ids=lambda path: path.stem)
def test_frozen_numbers(path, tmp_path):
    _checked(path, tmp_path)


def test_every_frozen_family_is_checked():
    families = {path.stem[:3] for path in OURS if class_of(path)}
    assert families >= {"F14", "F15", "F16", "F17", "F21", "F25", "F26"}


def test_frozen_numbers_of_transformers(shared, tmp_path):
    names = {path.stem for path in OURS}
    paths = [path for path in sorted((shared / "golden" / "zoo").glob("*.json")) if class_of(path)]
    paths = [path for path in paths if path.stem not in names]
    assert len(paths) == 17
    for path in paths:
        folder = tmp_path / path.stem
        folder.mkdir()
        _checked(path, folder)
