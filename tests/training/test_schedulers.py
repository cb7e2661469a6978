"""Schedules against UER-py's own numbers and against transformers."""

from __future__ import annotations

import pytest
import torch
import transformers

from uer.config.training import SCHEDULERS, OptimizerOptions
from uer.errors import ConfigError
from uer.training.schedulers import AFTER_WARMUP, Schedule, build_schedule


def test_the_names_are_those_of_the_flags():
    assert tuple(AFTER_WARMUP) == SCHEDULERS


@pytest.mark.parametrize("case", ["sched_pretrain", "sched_finetune_fraction"])
def test_rates_equal_uer_pys(golden, case):
    about, tensors = golden(case)
    assert tensors
    for key, rates in tensors.items():
        options = OptimizerOptions(
            scheduler=key.removeprefix("out.lr."), learning_rate=2e-5, warmup=0.1, lr_decay=0.5
        )
        schedule = build_schedule(options, about["total"])
        assert [schedule.rate(t) for t in range(len(rates))] == pytest.approx(
            rates.tolist(), rel=1e-9, abs=1e-300
        ), key


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("linear", "linear"),
        ("cosine", "cosine"),
        ("cosine_with_restarts", "cosine_with_restarts"),
        ("polynomial", "polynomial"),
        ("constant", "constant"),
        ("constant_with_warmup", "constant_with_warmup"),
    ],
)
def test_factors_equal_transformers(name, theirs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = transformers.get_scheduler(theirs, optimizer, num_warmup_steps=7, num_training_steps=50)
    ours = Schedule(name, total=50, warmup=7.0, decay=25.0, learning_rate=1e-3)
    for t in range(50):
        assert ours.rate(t) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12, abs=1e-15)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("total", [1, 2, 5])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_every_corner_gives_a_rate_between_nothing_and_the_peak(name, total, warmup):
    schedule = build_schedule(OptimizerOptions(scheduler=name, warmup=warmup, lr_decay=0.0), total)
    for t in range(total + 3):
        assert 0 <= schedule.factor(t) <= 1 + 1e-12


def test_inverse_sqrt_without_warmup_does_not_divide_by_zero():
    schedule = build_schedule(OptimizerOptions(scheduler="inverse_sqrt", warmup=0.0), 100)
    assert [schedule.factor(t) for t in (0, 1, 4)] == [1.0, 1.0, 0.5]


def test_senseless_settings_name_both_flags():
    with pytest.raises(ConfigError, match=r"--learning_rate is 1e-08; --scheduler polynomial ends at 1e-7"):
        OptimizerOptions(scheduler="polynomial", learning_rate=1e-8)
    with pytest.raises(ConfigError, match=r"--warmup 0.6 and --lr_decay 0.5 are more than the whole run"):
        OptimizerOptions(scheduler="tri_stage", warmup=0.6)
    with pytest.raises(ConfigError, match=r"--scheduler is 'linaer'; choose from .* Did you mean 'linear'"):
        OptimizerOptions(scheduler="linaer")
    with pytest.raises(ConfigError, match=r"--adam_bias_correction is for .* adamw and muon, not adafactor"):
        OptimizerOptions(optimizer="adafactor", adam_bias_correction=True)
    with pytest.raises(ConfigError, match=r"--learning_rate 10.0 times --weight_decay 0.1 is 1 or more"):
        OptimizerOptions(learning_rate=10.0, weight_decay=0.1)
