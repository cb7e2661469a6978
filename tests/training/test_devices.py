"""UER's flags for GPUs, on machines that have them and that do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from uer.config.training import DistributedOptions
from uer.errors import ConfigError, EnvironmentFault
from uer.training import devices
from uer.training.devices import check_gpus, choose_device, choose_workers
from uer.training.launch import killed_for, launch_workers, memory_kills, over_all_gpus
from uer.training.place import Place, meeting_point, place_of


@pytest.fixture
def current(monkeypatch):
    """The GPUs that were made the current one."""
    made = []
    monkeypatch.setattr(devices.torch.cuda, "set_device", made.append)
    return made


@pytest.fixture
def gpus(monkeypatch, current):
    """Pretend that so many GPUs are visible."""
    return lambda count: monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: count)


def test_the_cpu_where_there_is_no_gpu(gpus, capsys):
    gpus(0)
    assert choose_workers(DistributedOptions()).device == torch.device("cpu")
    assert capsys.readouterr().out == "Using CPU mode for training.\n"


def test_the_gpu_that_is_named_or_the_first(gpus, current):
    gpus(2)
    assert choose_device(()) == torch.device("cuda", 0)
    assert choose_device((1,)) == torch.device("cuda", 1)
    assert current == [0, 1], "events without a name belong to the current one"


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (
            0,
            {"world_size": 8, "gpu_ranks": tuple(range(8))},
            "--world_size 8 --gpu_ranks 0 1 2 3 4 5 6 7 needs 8 GPUs and this machine has none; leave both "
            "out to train on the CPU (--world_size alone starts as many CPU processes).",
        ),
        (
            2,
            {"world_size": 8},
            "--world_size 8 needs 8 GPUs and this machine has 2; type --world_size 2 --gpu_ranks 0 1.",
        ),
    ],
)
def test_processes_for_gpus_that_are_not_there_are_one_line(gpus, count, options, message):
    gpus(count)
    with pytest.raises(EnvironmentFault) as caught:
        launch_workers(Path("x.py"), [], DistributedOptions(**options))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (0, {"world_size": 2}),
        (2, {"world_size": 2}),
        (2, {"world_size": 4, "gpu_ranks": (2, 3)}),
        (0, {}),
    ],
)
def test_processes_that_can_be_started(gpus, count, options):
    gpus(count)
    check_gpus(DistributedOptions(**options))


@pytest.mark.parametrize(
    ("count", "options", "environment", "workers"),
    [
        (4, {}, {}, 4),
        (4, {"engine": "fsdp"}, {}, 4),
        (1, {}, {}, 1),
        (0, {}, {}, 1),
        (4, {"world_size": 2}, {}, 2),
        (4, {"gpu_ranks": (1,)}, {}, 1),
        (4, {}, {"RANK": "0"}, 1),
        (4, {}, {"SLURM_STEP_ID": "0"}, 1),
    ],
)
def test_all_gpus_where_nobody_says_how_many(gpus, monkeypatch, caplog, count, options, environment, workers):
    gpus(count)
    for name in ("RANK", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    told = DistributedOptions(**options)
    with caplog.at_level("INFO"):
        assert over_all_gpus(told) == told.replace(world_size=workers)
    assert ("One worker on each of 4 GPUs" in caplog.text) == (workers == 4)


@pytest.mark.parametrize(
    ("count", "ranks", "message"),
    [
        (
            0,
            (0,),
            "--gpu_ranks 0 asks for a GPU and this machine has none; leave it out to train on the CPU.",
        ),
        (1, (3,), "--gpu_ranks 3 asks for GPU 3 and this machine has 1; they count from 0."),
    ],
)
def test_a_gpu_that_is_not_there_is_one_line(gpus, count, ranks, message):
    gpus(count)
    with pytest.raises(EnvironmentFault) as caught:
        choose_device(ranks)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        ({"WORLD_SIZE": "1", "RANK": "0"}, None),
        (
            {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "5"},
            Place(3, 4, 1, "tcp://a:5"),
        ),
        ({"SLURM_NTASKS": "4"}, None),
        (
            {"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0", "SLURM_STEP_ID": "0"},
            Place(2, 4, 0, "tcp://head:29500"),
        ),
    ],
)
def test_the_launchers_word(environment, place):
    assert place_of(environment, "tcp://head:29500") == place


@pytest.mark.parametrize(
    "url", ["localhost", "localhost:1", "http://a:1", "tcp://a", "tcp://a:b", "tcp://:5"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(ConfigError) as caught:
        meeting_point(url)
    assert str(caught.value) == f"--master_ip is '{url}'; it must be like tcp://localhost:12345."


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


def test_a_kill_for_want_of_memory_is_named():
    assert killed_for(False, 0) == " (by hand, or by the system for want of memory)"
    assert killed_for(False, 1_500_000_000).endswith("want of memory; it had 1.5 GB at most)")
    assert killed_for(True, 1_500_000_000) == (
        " by the kernel for want of memory; it had 1.5 GB at most: lower --batch_size, cut batches by "
        "--micro_batches, or add --gradient_checkpointing"
    )
    assert memory_kills() >= 0
