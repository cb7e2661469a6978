"""What a run leaves behind to be read: lines in the log, a folder `NAME.run/`, a progress bar on a terminal.

The folder holds `config.json` (all effective options), `environment.json` (versions, machine, what was
chosen), `metrics.jsonl` (one JSON object a report), `results.json` (what was evaluated), and `report.html`,
which shows them; trackers may take the same figures. A resumed run goes on in the same files.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from uer import __version__
from uer.metrics import Metric
from uer.training.memory import peak_memory
from uer.training.page import write_page
from uer.training.report import Report
from uer.training.results import RESULTS, add_result
from uer.training.trackers import Tracker, plain_figures
from uer.utils.files import atomic_write, write_fault
from uer.utils.logging import logger

REFRESH = 5.0  # seconds between two versions of the page while the run lives
METRICS, CONFIG, ENVIRONMENT = "metrics.jsonl", "config.json", "environment.json"


class Machine(NamedTuple):
    """What the figures of speed and memory are held against."""

    flops_per_token: float
    """operations of a training step a real token"""
    rate: float
    """operations a second of large matrix products on all workers together"""
    device: torch.device


def run_folder(name: str | Path) -> Path:
    """The folder of the run that writes checkpoints of this name."""
    path = Path(name)
    return path.with_name(f"{path.name}.run")


def environment() -> dict[str, Any]:
    """Versions and machine."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "uer": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "command": sys.argv,
    }


class RunLog:
    """Takes the reports of a run.

    Args:
        line: makes the line of the log from a report.
        total: batches of the whole run.
        folder: where the files go; None: no files (search trials, tests).
        start: batches done before; records beyond it belong to work that was lost, and are removed.
        quiet: no lines and no bar (workers other than the first).
        machine: for the share of its operations that are used, and the memory; None: neither is reported.
        trackers: programs that take the records too.
    """

    def __init__(
        self,
        line: Callable[[Report], str],
        *,
        total: int,
        folder: Path | None = None,
        start: int = 0,
        quiet: bool = False,
        machine: Machine | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.machine, self.trackers = machine, trackers
        self.line, self.folder, self.quiet = line, None if quiet else folder, quiet
        self._bar = None if quiet else _progress_bar(total, start)
        self.total, self._records, self._drawn = total, [], 0.0
        if self.folder is not None:
            self._trim(start)

    def _trim(self, start: int) -> None:
        """Keep the records up to `start`; of a fresh run nothing that an earlier one of the name left."""
        file = self.folder / METRICS
        if not start:
            (self.folder / RESULTS).unlink(missing_ok=True)
        self._records = kept = [line for line in _lines(file) if start and line["step"] <= start]
        with atomic_write(file) as out:
            out.writelines(json.dumps(record) + "\n" for record in kept)

    def describe(self, config: dict[str, Any], **chosen: Any) -> None:
        """Write what the run was told, where it runs, and what was decided for it (precision, …)."""
        if self.folder is None:
            return
        facts = {**environment(), "batches": self.total, **chosen}
        for name, content in ((CONFIG, config), (ENVIRONMENT, facts)):
            with atomic_write(self.folder / name) as out:
                out.write(json.dumps(content, ensure_ascii=False, indent=2) + "\n")

    def say(self, text: str, *values: Any) -> None:
        """One line of the log."""
        if not self.quiet:
            logger.info(text, *values)

    def report(self, report: Report) -> None:
        """The line, the record and the figures beside the bar."""
        self.say("%s", self.line(report))
        record, speed = report.record(), report.tokens / max(report.seconds, 1e-9)
        if self.machine is not None:
            record["flop_utilisation"] = round(speed * self.machine.flops_per_token / self.machine.rate, 4)
            record["peak_memory_gb"] = round(peak_memory(self.machine.device) / 1e9, 3)
        if self._bar is not None:
            text = f"loss {report.loss:.3f}, lr {report.rate:.2e}, {speed:,.0f} tokens/s"
            if self.machine is not None:
                text += f", MFU {record['flop_utilisation']:.0%}, {record['peak_memory_gb']:.1f} GB"
            self._bar.set_postfix_str(text)
        self.record(record)

    def record(self, figures: dict[str, Any]) -> None:
        """Append one JSON line to the metrics file, and hand the figures to the trackers."""
        for tracker in self.trackers:
            tracker.record(figures["step"], plain_figures(figures))
        if self.folder is None:
            return
        file, figures = self.folder / METRICS, {**figures, "time": round(time.time(), 3)}
        try:
            with open(file, "a", encoding="utf-8") as out:
                out.write(json.dumps(figures) + "\n")
        except OSError as error:
            raise write_fault(file, error) from error
        self._records.append(figures)
        if time.monotonic() - self._drawn > REFRESH:
            self._draw(running=True)

    def _draw(self, *, running: bool) -> None:
        """Bring the page up to date."""
        name = self.folder.name.removesuffix(".run")
        write_page(self.folder, name, self.total, self._records, running=running)
        self._drawn = time.monotonic()

    def result(self, name: str, metric: Metric) -> None:
        """Keep what an evaluation gave, for the page; `name`: what was evaluated."""
        if self.folder is not None:
            add_result(self.folder, name, metric)

    def advance(self, step: int) -> None:
        """Move the bar to `step` batches."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def close(self) -> None:
        """Take the bar away, and leave the page as it is at the end."""
        for tracker in self.trackers:
            tracker.close()
        if self.folder is not None:
            self._draw(running=False)
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def late_result(folder: Path, name: str, metric: Metric) -> None:
    """Keep what was evaluated when the run was over, and bring its page up to date."""
    add_result(folder, name, metric)
    records = _lines(folder / METRICS)
    done = max((record["step"] for record in records), default=0)
    try:
        total = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))["batches"]
    except (OSError, ValueError, KeyError):
        total = done
    write_page(folder, folder.name.removesuffix(".run"), total, records, running=False)


def _progress_bar(total: int, start: int) -> Any:
    """A bar with the time that is left, when someone looks at a terminal."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    return tqdm(total=total, initial=start, unit="batch", dynamic_ncols=True, leave=False, file=sys.stderr)


def _lines(file: Path) -> list[dict[str, Any]]:
    """The records of a metrics file; a line that a kill cut in half is left out."""
    records = []
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records
