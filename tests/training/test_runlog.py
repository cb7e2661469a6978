"""The folder of a run, its metrics file after a resume, and the bar on a terminal."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from tests.training.test_report import report
from uer.errors import EnvironmentFault
from uer.training import runlog
from uer.training.report import pretraining_line
from uer.training.runlog import Machine, RunLog, run_folder
from uer.utils.logging import init_logger, logger


def log(**more) -> RunLog:
    return RunLog(pretraining_line, total=10, **more)


def records() -> list[dict]:
    return [json.loads(line) for line in Path("m.bin.run/metrics.jsonl").read_text().splitlines()]


def test_one_json_line_a_report():
    run = log(folder=run_folder("m.bin"))
    run.describe({"learning_rate": 0.1, "词": "表"}, precision="bf16")
    run.report(report(step=2))
    run.report(report(step=4))
    run.record({"step": 4, "dev_accuracy": 0.5})
    assert [record["step"] for record in records()] == [2, 4, 4]
    assert records()[0]["loss"] == pytest.approx(10.09) and "time" in records()[0]
    assert json.loads(Path("m.bin.run/config.json").read_text()) == {"learning_rate": 0.1, "词": "表"}
    environment = json.loads(Path("m.bin.run/environment.json").read_text())
    assert environment["precision"] == "bf16" and environment["torch"]


def test_a_resumed_run_goes_on_where_it_starts_and_a_new_one_begins_anew():
    run = log(folder=run_folder("m.bin"))
    for step in (2, 4, 6):
        run.report(report(step=step))
    with open("m.bin.run/metrics.jsonl", "a") as file:
        file.write('{"step": 8, "lo')  # killed in the middle of a line
    run = log(folder=run_folder("m.bin"), start=4)
    run.report(report(step=6))
    assert [record["step"] for record in records()] == [2, 4, 6]
    log(folder=run_folder("m.bin"))
    assert records() == []


def test_the_page_follows_the_run(monkeypatch):
    run = log(folder=run_folder("m.bin"))
    page = Path("m.bin.run/report.html")
    run.report(report(step=2))
    assert "running: 2 of 10 steps" in page.read_text()
    run.report(report(step=4))
    assert "running: 2 of 10 steps" in page.read_text(), "not drawn anew for every report"
    monkeypatch.setattr(runlog, "REFRESH", -1.0)
    run.report(report(step=6))
    assert "running: 6 of 10 steps" in page.read_text()
    run.report(report(step=10))
    run.close()
    assert "finished: 10 of 10 steps" in page.read_text()


def test_quiet_runs_write_and_say_nothing(capsys):
    init_logger()
    run = log(folder=run_folder("m.bin"), quiet=True)
    run.describe({})
    run.report(report())
    run.say("nothing")
    assert not Path("m.bin.run").exists() and capsys.readouterr().err == ""


def test_a_file_that_cannot_be_written_is_one_line():
    run = log(folder=run_folder("m.bin"))
    Path("m.bin.run/metrics.jsonl").unlink()
    Path("m.bin.run/metrics.jsonl").mkdir()
    with pytest.raises(EnvironmentFault, match=r"metrics\.jsonl: Is a directory; choose another name"):
        run.report(report())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_with_the_time_left_on_a_terminal_only(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    init_logger()
    run = log(start=2, machine=Machine(1e6, 1e10, torch.device("cpu")))
    run.report(report(step=4))
    run.advance(5)
    run._bar.refresh()
    run.close()
    drawn = screen.getvalue()
    assert "5/10" in drawn and "loss 10.090" in drawn and "2,000 tokens/s" in drawn and "<" in drawn
    assert "lr 1.00e-04" in drawn and re.search(r"MFU 20%, \d+\.\d GB", drawn)
    assert (
        "|        4/      10 steps|" not in drawn
        and "steps|  2135.00 tokens/s| loss   10.09| acc: 0.000" in drawn
    )
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert log()._bar is None
    logger.handlers.clear()
