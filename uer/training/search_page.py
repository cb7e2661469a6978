"""`search.html`: what a search found, on one page that needs nothing else to be opened."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from uer.training.page import STYLE
from uer.utils.files import atomic_write

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 300, 40, 40, 26, 14
CELLS = 8  # columns or rows of the heat map; more values are put together
CSS = """
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--page); padding: 12px; margin: 0;
border-radius: 8px; font-size: 13px } .heat td, .heat th { border: 1px solid var(--line); padding: 8px;
text-align: center; font-weight: 400 } .heat td { color: #101828 } th { text-align: left; color: var(--soft);
font-weight: 500; padding-right: 10px } pre span { display: inline-block } svg text { paint-order: stroke;
stroke: var(--card); stroke-width: 4px }
"""


def write_search_page(
    path: Path, title: str, metric: str, trials: Sequence[Mapping[str, Any]], command: str | None, total: int
) -> None:
    """Write the page.

    Args:
        trials: each with `params`, `score` (None: failed or pruned), `epoch`, `seconds`, `note`.
        command: that trains with the best values, ready to paste; None while there is none.
        total: number of trials of the whole search.
    """
    scored = [trial for trial in trials if trial["score"] is not None]
    best = max(scored, key=lambda trial: trial["score"]) if scored else None
    names = list(dict.fromkeys(name for trial in trials for name in trial["params"]))
    names = [name for name in names if len({str(t["params"].get(name)) for t in trials}) > 1]
    state = f"{len(trials)} of {total} trials" + (
        f"; best {metric} {best['score']:.4f}" if best else "; none has a score yet"
    )
    body = [f'<h1>{escape(title)}</h1><div class="soft">{escape(state)}</div>']
    if command is not None:
        body.append(_card("The best, ready to paste", f"<pre>{_pasted(command)}</pre>"))
    if len(scored) > 1 and names:
        body.append(_card("Parallel coordinates", _parallel(names, scored, metric, best)))
        if len(names) > 1:
            body.append(_card(f"Best {metric} by {names[0]} and {names[1]}", _heat(names[:2], scored)))
    body.append(_card("Trials", _table(trials, metric, best)))
    with atomic_write(path) as out:
        out.write(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(title)}</title><style>{STYLE}{CSS}</style></head><body><main>"
            f"{''.join(body)}</main></body></html>\n"
        )


def _pasted(command: str) -> str:
    """A command as HTML; each flag stays with what it is given."""
    parts = re.split(r" (?=--)", command)
    return " ".join(f"<span>{escape(part)}</span>" for part in parts)


def _card(title: str, inside: str) -> str:
    return f'<div class="row"><div class="card"><h2>{escape(title)}</h2>{inside}</div></div>'


def word(value: Any) -> str:
    """A value on the page."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()


def _scale(values: Sequence[Any]) -> Any:
    """A function from a value to its height, 0 to 1: by size for numbers (logarithmic when they spread)."""
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not numeric:
        ordered = sorted(set(values), key=str)
        return lambda value: ordered.index(value) / max(1, len(ordered) - 1)
    low, high = min(values), max(values)
    if low > 0 and high / low > 20:
        return lambda value: math.log(value / low) / math.log(high / low)
    return lambda value: (value - low) / (high - low) if high > low else 0.5


def _colour(share: float) -> str:
    """From pale to strong."""
    return f"hsl(217, {30 + 60 * share:.0f}%, {92 - 42 * share:.0f}%)"


def _parallel(names: list[str], trials: Sequence[Mapping[str, Any]], metric: str, best: Any) -> str:
    """A line a trial through its values and its score."""
    axes = [(name, [trial["params"].get(name) for trial in trials]) for name in names]
    axes.append((metric, [trial["score"] for trial in trials]))
    scales = [_scale(values) for _, values in axes]
    step = (WIDTH - LEFT - RIGHT) / (len(axes) - 1)

    def height(share: float) -> float:
        """The place of a value that lies at this share of its axis."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    parts, labels = [], []
    for number, (name, values) in enumerate(axes):
        x = LEFT + number * step
        parts.append(f'<line class="grid" x1="{x:.0f}" x2="{x:.0f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        anchor = "start" if number == 0 else "end" if number == len(axes) - 1 else "middle"
        parts.append(f'<text x="{x:.0f}" y="12" text-anchor="{anchor}">{escape(name)}</text>')
        shown = sorted(set(values), key=scales[number])
        for value in shown if len(shown) <= CELLS else (shown[0], shown[-1]):
            y = height(scales[number](value)) + 4
            side = ("end", -5) if number == len(axes) - 1 else ("start", 5)
            text = f'x="{x + side[1]:.0f}" y="{y:.0f}" text-anchor="{side[0]}"'
            labels.append(f"<text {text}>{escape(word(value))}</text>")  # in front of the lines
    for place in sorted(range(len(trials)), key=lambda place: trials[place]["score"]):
        shares = [scale(values[place]) for scale, (_, values) in zip(scales, axes)]
        line = " ".join(f"{LEFT + n * step:.1f},{height(share):.1f}" for n, share in enumerate(shares))
        top = trials[place] is best
        colour, width = ("#e0662f", 2.6) if top else (_colour(shares[-1]), 1.4)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join([*parts, *labels])}</svg>'


def _cells(values: Sequence[Any]) -> tuple[list[str], list[int]]:
    """Names of columns, and the column of each value; many numbers are put together, equally many in each."""
    distinct = sorted(set(values), key=_scale(values))
    if len(distinct) <= CELLS:
        return [word(value) for value in distinct], [distinct.index(value) for value in values]
    groups = [distinct[len(distinct) * n // CELLS : len(distinct) * (n + 1) // CELLS] for n in range(CELLS)]
    names = [f"{word(group[0])} – {word(group[-1])}" for group in groups]
    return names, [next(n for n, group in enumerate(groups) if value in group) for value in values]


def _heat(names: list[str], trials: Sequence[Mapping[str, Any]]) -> str:
    """The best score of each pair of values."""
    (columns, xs), (rows, ys) = (_cells([trial["params"].get(name) for trial in trials]) for name in names)
    best: dict[tuple[int, int], float] = {}
    for x, y, trial in zip(xs, ys, trials):
        best[x, y] = max(best.get((x, y), -math.inf), trial["score"])
    low, high = min(best.values()), max(best.values())
    lines = [f"<tr><th>{escape(names[1])} \\ {escape(names[0])}</th>"]
    lines += [f"<th>{escape(name)}</th>" for name in columns] + ["</tr>"]
    for y, name in enumerate(rows):
        lines.append(f"<tr><th>{escape(name)}</th>")
        for x in range(len(columns)):
            if (x, y) in best:
                share = (best[x, y] - low) / (high - low) if high > low else 1.0
                lines.append(f'<td style="background: {_colour(share)}">{best[x, y]:.4f}</td>')
            else:
                lines.append("<td></td>")
        lines.append("</tr>")
    return f'<table class="heat">{"".join(lines)}</table>'


def _table(trials: Sequence[Mapping[str, Any]], metric: str, best: Any) -> str:
    """All trials, the best first."""
    names = list(dict.fromkeys(name for trial in trials for name in trial["params"]))
    head = "".join(f"<th>{escape(name)}</th>" for name in [*names, metric, "epoch", "seconds", ""])
    lines = [f"<tr>{head}</tr>"]
    order = sorted(trials, key=lambda trial: -math.inf if trial["score"] is None else trial["score"])
    for trial in reversed(order):
        score = "–" if trial["score"] is None else f"{trial['score']:.4f}"
        cells = [word(trial["params"].get(name, "")) for name in names]
        cells += [score, str(trial["epoch"]), f"{trial['seconds']:.1f}"]
        cells.append("best" if trial is best else trial["note"])
        lines.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"
