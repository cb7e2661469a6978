"""What a metric knows beyond its scores, as tables: of labels, of types, of confusions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 30  # labels of a matrix that is shown whole
WORST = 20  # confusions that are listed where it is not


class Table(NamedTuple):
    """One table.

    Attributes:
        title: what it shows. head: the names of the columns. rows: a name, then numbers.
        matrix: the numbers are counts of one kind, to be compared with each other.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    matrix: bool = False


def tables_of(metric: Any) -> list[Table]:
    """The tables of a metric; none of one whose scores say all."""
    return metric.tables() if hasattr(metric, "tables") else []


def confusion_table(matrix: NDArray, names: Sequence[str]) -> Table:
    """Counts [predicted, gold] as a table; of many labels only what is confused most."""
    if len(names) <= MOST:
        rows = [[name, *counts] for name, counts in zip(names, matrix.tolist())]
        return Table("Confusion matrix (rows: predicted, columns: gold)", ["", *names], rows, matrix=True)
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    places = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = [divmod(int(place), len(names)) for place in places]
    rows = [[names[p], names[g], int(wrong[p, g])] for p, g in pairs if wrong[p, g]]
    return Table(f"The most frequent confusions of {len(names)} labels", ["predicted", "gold", "rows"], rows)


def ratio_table(
    what: str, names: Sequence[str], precision: NDArray, recall: NDArray, f1: NDArray, support: NDArray
) -> Table:
    """Precision, recall and F1 of each label or type, and how many there are."""
    columns = (precision.tolist(), recall.tolist(), f1.tolist(), support.astype(np.int64).tolist())
    head = [what, "precision", "recall", "F1", "support"]
    return Table(f"Each {what}", head, [list(row) for row in zip(names, *columns)])
