"""UER's flags for GPUs, on machines that have them and that do not."""

from __future__ import annotations

import pytest
import torch

from uer.config.training import DistributedOptions
from uer.errors import ConfigError, EnvironmentFault
from uer.training import devices
from uer.training.devices import choose_device, choose_workers


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that so many GPUs are visible."""
    return lambda count: monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: count)


def test_the_cpu_where_there_is_no_gpu(gpus, capsys):
    gpus(0)
    assert choose_workers(DistributedOptions()).device == torch.device("cpu")
    assert capsys.readouterr().out == "Using CPU mode for training.\n"


def test_the_gpu_that_is_named_or_the_first(gpus):
    gpus(2)
    assert choose_device(DistributedOptions()) == torch.device("cuda", 0)
    assert choose_device(DistributedOptions(gpu_ranks=(1,))) == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (
            0,
            {"world_size": 8, "gpu_ranks": tuple(range(8))},
            "--world_size 8 --gpu_ranks 0 1 2 3 4 5 6 7 needs 8 GPUs and this machine has none; "
            "leave both out to train on the CPU.",
        ),
        (
            2,
            {"world_size": 8},
            "--world_size 8 needs 8 GPUs and this machine has 2; type --world_size 2 --gpu_ranks 0 1.",
        ),
        (
            0,
            {"gpu_ranks": (0,)},
            "--gpu_ranks 0 asks for a GPU and this machine has none; leave it out to train on the CPU.",
        ),
        (
            1,
            {"gpu_ranks": (3,)},
            "--gpu_ranks 3 asks for GPU 3 and this machine has 1; they count from 0.",
        ),
    ],
)
def test_gpus_that_are_not_there_are_one_line(gpus, count, options, message):
    gpus(count)
    with pytest.raises(EnvironmentFault) as caught:
        choose_device(DistributedOptions(**options))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpu_ranks": (0, 0), "world_size": 2}, "--gpu_ranks names a rank twice: 0 0."),
        ({"gpu_ranks": (-1,)}, "--gpu_ranks is -1; ranks count from 0."),
        ({"gpu_ranks": (0, 1)}, "--gpu_ranks names 2 ranks but --world_size is 1; type --world_size 2"),
    ],
)
def test_senseless_ranks(options, message):
    with pytest.raises(ConfigError) as caught:
        DistributedOptions(**options)
    assert message in str(caught.value)
