"""`report.html`: the curves and facts of a run on one page that needs nothing else to be opened.

Charts are SVG made here; the page holds no script and loads nothing. While the run lives it asks to be
reloaded.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from uer.training.results import read_results, results_cards
from uer.utils.files import atomic_write

POINTS = 600  # of a curve; more are thinned out
RELOAD = 10  # seconds
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 230, 58, 14, 14, 28
FROM_ZERO = ("tokens_per_second", "flop_utilisation", "learning_rate")  # curves whose height means something
COLOURS = ("#2f6fed", "#e0662f", "#1f9d72", "#a04fd0", "#c43d5b", "#7a7f87")

Curve = list[tuple[float, float]]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #e3e7ee; --card: #fff; --page:
#f5f7fa } @media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf2; --soft: #97a1b2; --line: #2c3442; --card: #1a202b; --page: #12161e } }
* { box-sizing: border-box } body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif }
main { max-width: 1220px; margin: 0 auto; padding: 28px 20px 60px }
h1 { font-size: 24px; margin: 0 } h2 { font-size: 16px; margin: 0 0 8px } .soft { color: var(--soft) }
.row { display: grid; gap: 14px; margin-top: 18px; grid-template-columns: repeat(auto-fit, minmax(130px,
1fr)) } .charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)) }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
min-width: 0 } .figure { font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums;
white-space: nowrap }
.bar { height: 8px; border-radius: 4px; background: var(--line); overflow: hidden; margin-top: 14px }
.bar i { display: block; height: 100%; background: #2f6fed } svg { width: 100%; height: auto; display: block;
overflow: visible }
svg text { fill: var(--soft); font-size: 11px } svg .grid { stroke: var(--line) }
.key { display: inline-block; white-space: nowrap; margin-right: 14px } .key i { display: inline-block;
width: 10px; height: 10px; border-radius: 3px; margin-right: 5px }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums }
td { padding: 3px 10px 3px 0; border-top: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere
} td:first-child { color: var(--soft); width: 38% } summary { cursor: pointer; font-weight: 600 }
h3 { font-size: 14px; margin: 16px 0 6px; color: var(--soft) } .wide { overflow-x: auto }
.parts { display: flex; flex-wrap: wrap; gap: 16px 36px } .parts h3 { margin: 0 0 6px } .parts > div {
max-width: 100% } .broad { grid-column: 1 / -1 } .results table { width: auto } .results td, .results th {
width: auto; min-width: 64px; padding: 3px 12px; text-align: right; font-weight: 400 }
.results :is(td, th):first-child { text-align: left; width: auto }
code { font-size: 12.5px } code span { display: inline-block }
.matrix td { background: rgba(47, 111, 237, calc(var(--share, 0) * 0.65)) } .results td, .results th {
overflow-wrap: normal; white-space: nowrap } .facts > .card:last-child:nth-child(odd) { grid-column: 1 / -1 }
@media (max-width: 600px) { main { padding: 20px 12px 40px } svg text { font-size: 18px }
.results td, .results th { padding: 3px 6px; min-width: 48px } }
"""


def write_page(
    folder: Path, name: str, total: int, records: Sequence[dict[str, Any]], *, running: bool
) -> None:
    """Write `report.html` from the records of a run and the JSON files of its folder.

    Args:
        name: of the run, for the title.
        total: batches of the whole run.
        running: whether the page is to reload itself.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    facts = {part: _read(folder / f"{part}.json") for part in ("config", "environment")}
    step = max((record["step"] for record in records), default=0)
    state = "running" if running else ("finished" if step >= total else "stopped")
    body = [
        f"<h1>{escape(name)}</h1>",
    ]
    if total:  # a page of several runs has no steps of its own
        body += [
            f'<div class="soft">{state}: {step:,} of {total:,} steps{_when(records)}</div>',
            f'<div class="bar"><i style="width: {100 * min(1.0, step / total):.1f}%"></i></div>',
            _figures(records),
            f'<div class="row charts">{"".join(_charts(records))}</div>',
        ]
    body += [
        results_cards(read_results(folder)),
        '<div class="row charts facts">',
        _best(records),
        _table("Data", _some(facts["environment"].pop("data", {}) or {})),
        _table("Environment", facts["environment"]),
        "</div>",
        f'<div class="row">{_table("Configuration", facts["config"], folded=True)}</div>',
    ]
    reload = f'<meta http-equiv="refresh" content="{RELOAD}">' if running else ""
    with atomic_write(folder / "report.html") as out:
        out.write(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">{reload}'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(name)}</title><style>{STYLE}</style></head><body><main>"
            f"{''.join(body)}</main></body></html>\n"
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _when(records: Sequence[dict[str, Any]]) -> str:
    """How long the training between the reports took, and when the newest figures came."""
    seconds = sum(record.get("seconds") or 0 for record in records)
    newest = max((record.get("time") or 0 for record in records), default=0)
    parts = [f"{lasting(seconds)} of training"] if seconds else []
    parts += [f"{datetime.fromtimestamp(newest):%Y-%m-%d %H:%M}"] if newest else []
    return "".join(f" · {part}" for part in parts)


def lasting(seconds: float) -> str:
    """A time in the two largest units that it has: 45 s, 12 min 5 s, 3 h 20 min."""
    whole = round(seconds)
    for unit, name, smaller, its_name in ((3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            return f"{whole // unit:,} {name} {whole % unit // smaller} {its_name}"
    return f"{whole} s"


def _some(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts in words, without those that there are none of."""
    return {key.replace("_", " "): value for key, value in facts.items() if value != 0}


def _figures(records: Sequence[dict[str, Any]]) -> str:
    """The newest figures, large."""
    newest: dict[str, Any] = {}
    for record in records:
        newest.update({key: value for key, value in record.items() if value is not None})
    shown = [
        ("Loss", "loss", "{:.3f}"),
        ("Held-out loss", "eval_loss", "{:.3f}"),
        ("Learning rate", "learning_rate", "{:.2e}"),
        ("Gradient norm", "gradient_norm", "{:.2f}"),
        ("Tokens/s", "tokens_per_second", "{:,.0f}"),
        ("Utilisation", "flop_utilisation", "{:.0%}"),
        ("Peak memory", "peak_memory_gb", "{:.2f} GB"),
        ("Skipped updates", "skipped", "{:,}"),
    ]
    scores = [record for record in records if any(key.startswith("dev_") for key in record)]
    if scores:  # the first score is the task's own
        name = next(key for key in scores[0] if key.startswith("dev_"))
        newest["best"] = max((y for _, y in _points(records, name)), default=math.nan)
        shown.insert(1, (f"Best {worded(name.removeprefix('dev_'))}", "best", "{:.4f}"))
    cards = [
        f'<div class="card"><div class="soft">{label}</div>'
        f'<div class="figure">{style.format(newest[key])}</div></div>'
        for label, key, style in shown
        if key in newest and (key != "skipped" or newest[key])
    ]
    return f'<div class="row">{"".join(cards)}</div>' if cards else ""


def _charts(records: Sequence[dict[str, Any]]) -> list[str]:
    """The curves that the records hold."""
    keys = list(dict.fromkeys(key for record in records for key in record))
    several = [key for key in keys if key.startswith("loss_")]
    losses = ["loss", *(several if len(several) > 1 else []), "eval_loss"]
    groups = [
        ("Loss", losses),
        ("Accuracy", [key for key in keys if key.startswith(("acc_", "eval_acc_"))]),
        ("Development", [key for key in keys if key.startswith("dev_")]),
        ("Learning rate", ["learning_rate"]),
        ("Gradient norm", ["gradient_norm"]),
        ("Real tokens per second", ["tokens_per_second"]),
        ("Share of the machine's matrix products", ["flop_utilisation"]),
    ]
    drawn = []
    for title, names in groups:
        curves = {name: _curve(records, name) for name in names}
        curves = {name: curve for name, curve in curves.items() if curve}
        if curves:
            drawn.append(chart(title, curves))
    return drawn


def _points(records: Sequence[dict[str, Any]], key: str) -> Curve:
    """All values of a figure; where a score was no number (the correlation of constants) there is none."""
    return [
        (record["step"], float(record[key]))
        for record in records
        if isinstance(record.get(key), (int, float)) and math.isfinite(record[key])
    ]


def _curve(records: Sequence[dict[str, Any]], key: str) -> Curve:
    """What is drawn of them: not too many, the newest among them."""
    points = _points(records, key)
    return points[:: -(len(points) // POINTS + 1)][::-1]


def _ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from `low` to `high`."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * round_ for round_ in (1, 2, 2.5, 5, 10) if power * round_ >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _words(values: Sequence[float]) -> list[str]:
    """The numbers on an axis, all in one style."""
    sizes = [abs(value) for value in values if value]
    if sizes and min(sizes) < 0.001:
        power = math.floor(math.log10(min(sizes)) + 1e-9)
        return [f"{value / 10**power:.3g}e{power}" if value else "0" for value in values]
    if sizes and max(sizes) >= 10_000:
        return [f"{value / 1000:,.4g}k" if value else "0" for value in values]
    return [f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" for value in values]


def chart(title: str, curves: dict[str, Curve]) -> str:
    """One chart of curves over steps, as a card with an SVG picture."""
    xs = [x for curve in curves.values() for x, _ in curve]
    ys = [y for curve in curves.values() for _, y in curve]
    low, high, first, last = min(ys), max(ys), min(xs), max(xs)
    if low > 0 and any(name in FROM_ZERO for name in curves):
        low = 0.0
    margin = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    low, high = (low - margin if low < 0 or low > margin else 0.0), high + margin

    def at_x(x: float) -> float:
        """The place of a step."""
        return LEFT + (WIDTH - LEFT - RIGHT) * ((x - first) / (last - first) if last > first else 0.5)

    def at_y(y: float) -> float:
        """The place of a value."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (y - low) / (high - low))

    parts = []
    heights = _ticks(low, high)
    for y, word in zip(heights, _words(heights)):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end">{word}</text>')
    places = _ticks(first, last, 5) if last > first else [first]
    for x, word in zip(places, _words(places)):
        parts.append(f'<text x="{at_x(x):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{word}</text>')
    keys = []
    for (name, curve), colour in zip(curves.items(), COLOURS * len(curves)):
        line = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        x, y = curve[-1]
        parts.append(f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="2.6" fill="{colour}"/>')
        if len(curves) > 1:
            label = escape(worded(name.removeprefix("dev_")))
            keys.append(f'<span class="key"><i style="background: {colour}"></i>{label}</span>')
    legend = f'<div class="soft">{" ".join(keys)}</div>' if keys else ""
    picture = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'
    return f'<div class="card"><h2>{escape(title)}</h2>{picture}{legend}</div>'


def worded(key: str) -> str:
    """The name of a figure as a reader says it: eval_acc_mlm → held-out accuracy, mlm."""
    words = {"eval": "held-out", "dev": "development", "acc": "accuracy"}
    parts = [words.get(part, part) for part in key.split("_")]
    kind = next((place for place, part in enumerate(parts) if part in ("loss", "accuracy")), None)
    if kind is None or kind == len(parts) - 1:
        return " ".join(parts)
    return f"{' '.join(parts[: kind + 1])}, {' '.join(parts[kind + 1 :])}"


def _best(records: Sequence[dict[str, Any]]) -> str:
    """The best evaluations and when they were: losses low, scores high."""
    best: dict[str, str] = {}
    keys = dict.fromkeys(key for record in records for key in record)
    if sum(key.startswith("eval_loss_") for key in keys) == 1:  # one term: its loss is the loss
        keys = [key for key in keys if not key.startswith("eval_loss_")]
    for key in keys:
        if not key.startswith(("eval_", "dev_")):
            continue
        found = _points(records, key)
        if found:
            step, value = (min if "loss" in key else max)(found, key=lambda point: point[1])
            best[worded(key)] = f"{value:.4f} after {step:,} steps"
    return _table("Best", best)


def _table(title: str, rows: dict[str, Any], *, folded: bool = False) -> str:
    """A card with names and values; nothing for an empty table."""
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td>{escape(str(key))}</td><td>{_shown(key, value)}</td></tr>" for key, value in rows.items()
    )
    table = f"<table>{lines}</table>"
    inside = f"<details><summary>{title}</summary>{table}</details>" if folded else f"<h2>{title}</h2>{table}"
    return f'<div class="card">{inside}</div>'


def _shown(key: str, value: Any) -> str:
    """A value as HTML; of a command each flag stays with what it is given."""
    if key == "command" and isinstance(value, list):
        parts = re.split(r" (?=--)", shlex.join(["python3", *map(str, value)]))
        return f"<code>{' '.join(f'<span>{escape(part)}</span>' for part in parts)}</code>"
    if isinstance(value, (list, tuple)):
        return escape(" ".join(map(str, value))) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else escape(str(value))
