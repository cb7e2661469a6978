"""The training loop when something is wrong, or somebody stops it: updates skipped, what is saved."""

from __future__ import annotations

import json
import os
import signal
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from tests.training.toy import Toy, batches, rows, states, train
from uer.config.training import OptimizerOptions, TrainOptions
from uer.errors import UerError
from uer.training.ema import WeightAverage
from uer.training.engines.base import Engine
from uer.training.loop import Evaluating, Saving
from uer.training.optimizers import build_optimizer
from uer.training.precision import Precision
from uer.training.workers import Workers


class Poison(Toy):
    """Its loss is not finite on the instances given."""

    def __init__(self, instances, value=float("nan")) -> None:
        super().__init__()
        self.poisoned, self.value = rows(np.array(instances)).inputs["src"], value

    def forward(self, inputs, labels):
        terms = super().forward(inputs, labels)
        bad = any((inputs["src"] == torch.from_numpy(row)).all(1).any() for row in self.poisoned)
        return {k: t._replace(loss_sum=t.loss_sum * self.value) for k, t in terms.items()} if bad else terms


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_skips_the_update_and_is_said(lines, tmp_path, value):
    model = Poison([9], value)
    before = []
    evaluating = Evaluating(lambda step: before.append(states(model, optimizer)), 1)
    optimizer = build_optimizer(model, OptimizerOptions(learning_rate=0.02, scheduler="constant"))
    train(model, batches(4), 5, optimizer=optimizer, evaluating=evaluating, folder=tmp_path)
    assert "Step 3: loss or gradient is not finite; this update is skipped (1 so far, 1 in a row)." in lines
    assert all(torch.equal(before[1][key], before[2][key]) for key in before[1])
    assert not all(torch.equal(before[2][key], before[3][key]) for key in before[1])
    record = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert record["skipped"] == 1 and record["loss"] is not None


def test_a_gradient_that_is_not_finite_skips_the_update(lines):
    model = Toy()
    model.mlm.weight.register_hook(lambda grad: grad * float("inf"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, batches(4), 3)
    assert sum("is not finite" in line for line in lines) == 3
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Scaled(Precision):
    """fp16's scaled losses around the arithmetic of fp32, which a CPU has."""

    def __init__(self) -> None:
        super().__init__("fp16", "cpu")

    def autocast(self):
        return nullcontext()


def test_a_scaled_loss_gives_the_same_clipped_updates_over_a_window():
    optim = OptimizerOptions(learning_rate=0.02, max_grad_norm=0.05)
    plain, scaled = Toy(), Toy()
    train(plain, batches(4), 9, size=3, optim=optim)
    train(scaled, batches(4), 9, size=3, optim=optim, precision=Scaled())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(scaled.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def test_an_overflow_halves_the_scale_skips_the_update_and_is_in_the_checkpoint(lines):
    """A gradient that is finite by itself, and not when its loss is scaled."""
    model, precision, kept = Toy(), Scaled(), {}
    calls = iter([1.0, 1e38, 1.0, 1.0])  # of the second update
    model.mlm.weight.register_hook(lambda grad: grad * next(calls))

    def save(step, progress):
        kept[step] = ({name: value.clone() for name, value in model.state_dict().items()}, progress)

    train(model, batches(4), 4, precision=precision, saving=Saving(save, 1))
    assert "Step 2: loss or gradient is not finite; this update is skipped (1 so far, 1 in a row)." in lines
    assert [kept[step][1]["loss_scale"]["scale"] for step in (1, 2, 4)] == [2.0**16, 2.0**15, 2.0**15]
    assert all(torch.equal(value, kept[2][0][name]) for name, value in kept[1][0].items())
    assert not torch.equal(kept[3][0]["mlm.weight"], kept[2][0]["mlm.weight"])


def test_too_many_bad_updates_stop_the_run_and_name_the_instances(lines):
    saved = []
    with pytest.raises(UerError) as caught:
        train(
            Poison(range(8, 40)),
            batches(4),
            20,
            options=TrainOptions(max_bad_steps=3),
            saving=Saving(lambda step, progress: saved.append(step), 2),
        )
    assert "3 updates in a row had no finite loss and gradient (--max_bad_steps), the last at step 5" in str(
        caught.value
    )
    assert "on instances 16, 17, 18, 19; lower --learning_rate" in str(caught.value)
    assert saved == [2, 4], "skipped updates leave finite weights, which may be saved"


class Heard(Workers):
    """One of two workers; what the loop asks of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def of_all(self, ids):
        return [number for one in ids for number in (one, 100 + one)]

    def alive(self) -> None:
        self.asked.append("alive")

    def finished(self) -> None:
        self.asked.append("finished")


def test_the_instances_of_all_workers_are_named(lines):
    """The one whose rows are at fault may be another than the one that is heard."""
    with pytest.raises(UerError, match="at step 1 on instances 0, 100, 1, 101; lower"):
        train(Poison([1]), batches(2), 2, options=TrainOptions(max_bad_steps=1), workers=Heard())


def test_no_update_is_waited_for_when_training_is_over(lines):
    """Else a long test of the best model would be taken for a hang."""
    workers = Heard()
    train(Toy(), batches(4), 2, workers=workers)
    assert workers.asked == ["alive", "alive", "finished"]


def test_bad_updates_are_counted_in_a_row_and_over_a_resume(lines):
    train(Poison([0, 8, 16]), batches(4), 6, options=TrainOptions(max_bad_steps=2))
    kept = {}
    train(
        Poison([0, 1, 2, 3, 4]), batches(4), 2, saving=Saving(lambda step, progress: kept.update(progress), 2)
    )
    assert kept == {"skipped": 2, "bad_in_a_row": 2, "loss_scale": {}}
    with pytest.raises(UerError, match="3 updates in a row"):
        train(Poison([8]), batches(4), 6, options=TrainOptions(max_bad_steps=3), start=2, progress=kept)


def test_weights_that_are_not_finite_are_never_saved():
    model, saved = Toy(), []

    def spoil(step):
        model.mlm.bias.data[3] = float("inf")

    with pytest.raises(UerError, match="the weights are no longer finite at step 1, so they are not saved"):
        train(
            model,
            batches(4),
            3,
            evaluating=Evaluating(spoil, 1),
            saving=Saving(lambda *values: saved.append(values), 1),
        )
    assert not saved


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_last_whole_window_and_interrupts(lines, number):
    model = Toy(dropout=0.1)
    saved = {}
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def saving(step, progress):
        saved[step] = {key: value.clone() for key, value in model.state_dict().items()}

    calls = []

    def forward_hook(*_):
        calls.append(None)
        if len(calls) == 5:  # in the middle of the second window
            os.kill(os.getpid(), number)

    model.register_forward_hook(forward_hook)
    with pytest.raises(KeyboardInterrupt):
        train(model, batches(4), 30, size=3, saving=Saving(saving, 100))
    assert list(saved) == [3]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert lines[-1] == "Stopped after 3 of 30 steps."
    undisturbed, kept = Toy(dropout=0.1), {}
    train(
        undisturbed,
        batches(4),
        30,
        size=3,
        saving=Saving(
            lambda step, _: kept.update({step: {k: v.clone() for k, v in undisturbed.state_dict().items()}}),
            3,
        ),
    )
    assert all(torch.equal(kept[3][key], saved[3][key]) for key in kept[3])


def test_a_second_signal_stops_at_once():
    model = Toy()
    saved = []

    def forward_hook(*_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    model.register_forward_hook(forward_hook)
    with pytest.raises(KeyboardInterrupt):
        train(model, batches(4), 30, saving=Saving(lambda *values: saved.append(values), 1))
    assert not saved


def test_a_signal_before_the_first_update_saves_nothing(lines):
    saved = []

    def get_batch(step):
        if step == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches(4)(step)

    with pytest.raises(KeyboardInterrupt):
        train(Toy(), get_batch, 30, size=40, saving=Saving(lambda *values: saved.append(values), 1))
    assert not saved and lines[-1] == "Stopped after 0 of 30 steps."


def test_a_finished_run_has_nothing_left_to_do():
    saved = []
    train(Toy(), batches(4), 6, start=6, saving=Saving(lambda *values: saved.append(values), 2))
    assert not saved


def test_a_skipped_update_counts_for_nothing_in_the_running_mean(lines):
    model = Poison([4])
    optimizer = build_optimizer(model, OptimizerOptions(learning_rate=0.02, weight_decay=0.1))
    average = WeightAverage(Engine(model, optimizer, Workers()), 0.9)
    means = []
    train(
        model,
        batches(4),
        3,
        average=average,
        optimizer=optimizer,
        evaluating=Evaluating(lambda step: means.append(average.means[0].clone()), 1),
    )
    assert torch.equal(means[0], means[1]) and not torch.equal(means[1], means[2])
