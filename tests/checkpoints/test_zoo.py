"""Numbers that `transformers` gave once and that were frozen, for the families our key maps cover."""

from __future__ import annotations

from tests.checkpoints.zoo import check, class_of


def test_frozen_numbers(shared, tmp_path):
    paths = [path for path in sorted((shared / "golden" / "zoo").glob("*.json")) if class_of(path)]
    assert len(paths) == 14
    for path in paths:
        folder = tmp_path / path.stem
        folder.mkdir()
        found = check(path, folder)
        assert found and max(found.values()) <= 1e-5, (path.stem, found)
