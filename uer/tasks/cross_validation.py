"""Cross validation: each row is predicted by the model of the fold that did not see it, for stacking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from uer.errors import DataError
from uer.metrics import Confusion
from uer.utils.files import atomic_write


def folds(rows: int, count: int, path: str) -> list[np.ndarray]:
    """UER's folds: consecutive stretches of `rows // count + 1` rows, the last one shorter.

    Raises:
        DataError: a fold would be empty, or all rows but its own would be.
    """
    size = rows // count + 1
    parts = [np.arange(start, min(start + size, rows)) for start in range(0, size * count, size)]
    if not all(len(part) for part in parts):
        raise DataError(
            f"{rows} rows are too few for {count} folds of {size} rows; lower --folds_num or add rows.",
            path=path,
        )
    return parts


def report(confusions: Sequence[Confusion]) -> list[str]:
    """UER's lines: plain means over the folds of accuracy and macro F1 (spelled as UER does)."""
    return [
        f"Acc. : {np.mean([fold.accuracy for fold in confusions]):.4f}",
        f"Marco F1 : {np.mean([fold.macro_f1 for fold in confusions]):.4f}",
    ]


def write_features(path: str | Path, values: np.ndarray) -> str:
    """An array as an npy file; `.npy` is put behind a name without it, as NumPy does.

    Returns:
        the path that was written.
    """
    name = str(path) if str(path).endswith(".npy") else f"{path}.npy"
    with atomic_write(name, "wb") as file:
        np.save(file, values, allow_pickle=False)
    return name
