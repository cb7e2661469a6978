"""Report lines as UER prints them, and the figures behind them."""

from __future__ import annotations

import json
import math
import time

import pytest
import torch

from uer.targets.term import Term
from uer.training.report import Meter, Report, Stopwatch, Sums, finetuning_line, pretraining_line


def report(**changes) -> Report:
    values = {
        "step": 2,
        "total": 4,
        "batches": 2,
        "terms": {"mlm": Sums(100.9, 10, 0)},
        "seconds": 2.0,
        "positions": 4270,
        "tokens": 4000,
        "rate": 1e-4,
        "gradient_norm": 0.5,
        "skipped": 0,
    }
    return Report(**{**values, **changes})


def test_one_term_as_in_the_contracts_example():
    line = pretraining_line(report(seconds=1.0, positions=2134.82))
    assert line == "|        2/       4 steps|  2134.82 tokens/s| loss   10.09| acc: 0.000"


def test_two_terms():
    line = pretraining_line(report(terms={"mlm": Sums(20.0, 10, 3), "sp": Sums(1.0, 2, 1)}, step=12345678))
    assert line == (
        "| 12345678/       4 steps|  2135.00 tokens/s| loss    2.50"
        "| loss_mlm: 2.000| loss_sp: 0.500| acc_mlm: 0.300| acc_sp: 0.500"
    )


def test_two_directions_have_no_colon_behind_their_losses():
    terms = {"bilm_forward": Sums(2.0, 1, 1), "bilm_backward": Sums(3.0, 1, 0)}
    assert pretraining_line(report(terms=terms)).endswith(
        "| loss    5.00| loss_forward 2.000| loss_backward 3.000| acc_forward: 1.000| acc_backward: 0.000"
    )


def test_fine_tunings_line_counts_epochs_and_batches_from_one():
    line = finetuning_line(10)
    assert line(report(step=10)) == "Epoch id: 1, Training steps: 10, Avg loss: 10.090"
    assert line(report(step=11)) == "Epoch id: 2, Training steps: 1, Avg loss: 10.090"


def test_the_record_is_plain_json():
    record = report(
        terms={"mlm": Sums(5.0, 10, 4), "sp": Sums(0.0, 0, 0)}, gradient_norm=float("inf")
    ).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["loss_mlm"] == 0.5 and record["acc_mlm"] == 0.4
    assert record["loss_sp"] is None and record["loss"] is None and record["gradient_norm"] is None
    assert record["tokens_per_second"] == 2000.0 and record["positions_per_second"] == 2135.0


def test_the_meter_adds_up_over_its_folds_and_leaves_out_what_is_not_finite():
    meter = Meter()
    for step in range(1200):
        loss = torch.tensor(float("nan") if step == 7 else 0.5, requires_grad=True)
        meter.add({"mlm": Term(loss, torch.tensor(2), torch.tensor(step % 2))}, positions=10, tokens=6)
    assert (meter.batches, meter.positions, meter.tokens) == (1200, 12000, 7200)
    sums = meter.sums()["mlm"]
    assert (sums.loss_sum, sums.count, sums.correct) == (599.5, 2398, 599)
    assert meter.sums()["mlm"] == sums
    assert math.isnan(Sums(0.0, 0, 0).loss)


def test_the_stopwatch_stands_still_while_paused():
    watch = Stopwatch()
    watch.pause()
    time.sleep(0.05)
    watch.go_on()
    assert watch.read() < 0.04
    time.sleep(0.02)
    assert watch.read() == pytest.approx(0.02, abs=0.03)
