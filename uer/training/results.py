"""`results.json` of a run: scores of evaluations and what lies behind them, and how the page shows it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from uer.metrics import Metric, Table, tables_of
from uer.utils.files import atomic_write

RESULTS = "results.json"
BROAD = 6
"""a card with a table of more columns takes the whole width of the page"""
Results = dict[str, dict[str, Any]]
"""what was evaluated, as in "Test" → `scores`, name → number, and `tables`, each a `Table` as an object"""


def read_results(folder: Path) -> Results:
    """The results of a run; none where there is no file that can be read."""
    try:
        found = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def add_result(folder: Path, name: str, metric: Metric) -> None:
    """Keep what a metric says, in the place of an earlier result of this name.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    tables = [table._asdict() for table in tables_of(metric)]
    results = read_results(folder) | {name: {"scores": _finite(metric.scores()), "tables": tables}}
    with atomic_write(folder / RESULTS) as out:
        json.dump(results, out, ensure_ascii=False, indent=1)


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Scores as JSON has them: what is no number is null."""
    return {name: float(x) if math.isfinite(x) else None for name, x in scores.items()}


def results_cards(results: Results) -> str:
    """The cards of all results, as HTML."""
    cards = []
    for name, result in results.items():
        scores = [[key, x] for key, x in result.get("scores", {}).items()]
        tables = [Table("", (), scores), *(Table(**table) for table in result.get("tables", []))]
        parts = "".join(f"<div>{_html(table)}</div>" for table in tables)
        broad = " broad" if any(len(table.head) > BROAD for table in tables) else ""
        head = f"<h2>{escape(name)}</h2>"
        cards.append(f'<div class="card results{broad}">{head}<div class="parts">{parts}</div></div>')
    return f'<div class="row charts">{"".join(cards)}</div>' if cards else ""


def _html(table: Table) -> str:
    """A table of numbers; the cells of a matrix are the darker the more of their column they hold."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in table.head)
    sums = _column_sums(table.rows) if table.matrix else []
    lines = []
    for row in table.rows:
        cells = [f"<td>{escape(str(row[0]))}</td>"]
        for column, value in enumerate(row[1:]):
            shade = f' style="--share: {value / sums[column]:.3f}"' if sums and sums[column] else ""
            cells.append(f"<td{shade}>{_word(value)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    title = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    kind = ' class="matrix"' if table.matrix else ""
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'{title}<div class="wide"><table{kind}>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def _column_sums(rows: Sequence[Sequence[Any]]) -> list[int]:
    return [sum(column) for column in zip(*(row[1:] for row in rows))]


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else escape("none" if value is None else str(value))
