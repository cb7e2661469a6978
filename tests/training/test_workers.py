"""Several processes: what they find out together, what is said when one is lost, no row lost or repeated."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.engine_runs import free_ports
from tests.training.worker_messages import shared_rows
from uer.config.training import DistributedOptions
from uer.data.order import BatchOrder
from uer.errors import ConfigError, DataError, EnvironmentFault
from uer.training import launch
from uer.training.distributed import DistributedWorkers, meeting_store
from uer.training.engines.zero_config import zero_config
from uer.training.launch import launch_workers
from uer.training.place import ALONE, Place, is_first
from uer.training.workers import Workers
from uer.utils.files import repository_root

SCRIPT = Path(__file__).with_name("worker_messages.py")


def two(**more) -> DistributedOptions:
    return DistributedOptions(world_size=2, master_ip=f"tcp://localhost:{free_ports(1)[0]}", **more)


def test_what_two_workers_find_out_together(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert launch_workers(SCRIPT, ["all"], two()) == 0
    first, second = (Path(f"told-{rank}.txt").read_text().splitlines() for rank in (0, 1))
    assert first == second == [
        "nothing",
        "the run of worker 1 differs from that of worker 0; start all workers with the same command, files "
        "and versions.",
        "nothing",
        "workers 0 and 1 have the same first batch; start each with a rank of its own.",
        "[0, 10, 1]",
        "[2.0, 1.0]",
        "1.0",
        "False",
    ]  # fmt: skip


def test_rows_that_are_compared_are_those_of_all_workers(monkeypatch):
    """Shares of one size and of two, and a worker that has no row: loss and gradient of one process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cases = [
        ([[0, 2, 4, 6], [1, 3, 5, 7]], [True, True]),
        ([[0, 2, 4], [1, 3]], [True, True]),
        ([[5], [5]], [True, False]),
    ]
    assert launch_workers(SCRIPT, ["rows", json.dumps(cases)], two()) == 0
    told = [json.loads(Path(f"told-{rank}.txt").read_text()) for rank in (0, 1)]
    for number, (shares, live) in enumerate(cases):
        together = [[row for share, counts in zip(shares, live) if counts for row in share], []]
        loss, grad = shared_rows(together, [True, True], Workers())
        assert told[0][number][0] + told[1][number][0] == pytest.approx(loss, rel=1e-12)
        found = told[0][number][1] + (told[1][number][1] if live[1] else [])
        np.testing.assert_allclose(found, grad, rtol=1e-10, atol=1e-14)
        assert live[1] or not np.any(told[1][number][1])


def test_a_worker_that_the_kernel_ended_for_want_of_memory_is_named(monkeypatch, capfd):
    kills = iter([3, 3])  # when the two were started; one more when the first to fail is looked at
    monkeypatch.setattr(launch, "memory_kills", lambda: next(kills, 4))
    assert launch_workers(SCRIPT, ["killed"], two()) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith(
        "error: worker 1 was killed by SIGKILL by the kernel for want of memory"
    ) and line.endswith(
        ": lower --batch_size, cut batches by --micro_batches, or add --gradient_checkpointing; the others "
        "are stopped."
    )


def test_a_meeting_place_where_nobody_is():
    (port,) = free_ports(1)
    with pytest.raises(EnvironmentFault) as caught:
        DistributedWorkers(
            Place(1, 2, 1, f"tcp://localhost:{port}"), Workers().device, DistributedOptions(timeout=1)
        )
    message = str(caught.value)
    assert message.startswith(f"worker 1 of 2 found nobody at tcp://localhost:{port} (")
    assert message.endswith("); is the port of --master_ip free, and does every machine reach it?")


def test_lost_workers_are_told_from_other_faults():
    workers = DistributedWorkers.__new__(DistributedWorkers)
    workers.rank = 1
    lost = workers.explained(RuntimeError("[gloo/transport/pair.cc] Connection closed by peer\nmore"))
    assert isinstance(lost, EnvironmentFault)
    assert str(lost) == "worker 1 lost another worker ([gloo/transport/pair.cc] Connection closed by peer)."
    other = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert workers.explained(other) is other


def test_groups_of_one_and_torchruns_store(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    minute = datetime.timedelta(minutes=1)
    assert meeting_store(Place(0, 1, 0, ALONE), minute) is not None
    assert meeting_store(Place(0, 2, 0, "tcp://localhost:1"), minute) is None


def test_who_does_what_needs_only_one():
    assert is_first({}) and is_first({"WORLD_SIZE": "2", "RANK": "0"})
    assert not is_first({"WORLD_SIZE": "2", "RANK": "1"})


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (None, DataError, "zero.json: does not exist; name a JSON file with --deepspeed_config."),
        ("{", DataError, "zero.json: is not JSON (Expecting"),
        ("[1]", DataError, "zero.json: holds a list, not a JSON object."),
        (
            "{}",
            ConfigError,
            "zero.json: zero_optimization.stage is null; give 1, 2 or 3, or take --engine ddp.",
        ),
        ('{"zero_optimization": {"stage": 0}}', ConfigError, "zero_optimization.stage is 0; give 1, 2 or 3"),
        (
            '{"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}',
            ConfigError,
            'zero.json: zero_optimization.offload_param.device is "nvme"; give cpu or none (a checkpoint is '
            "put together from what stands in memory).",
        ),
    ],
)
def test_faulty_files_of_deepspeed(content, kind, message):
    if content is not None:
        Path("zero.json").write_text(content)
    with pytest.raises(kind) as caught:
        zero_config(Path("zero.json"))
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "stage"), [("deepspeed_config", 2), ("deepspeed_zero3_config", 3)])
def test_files_of_deepspeed_that_come_along(name, stage):
    config = zero_config(repository_root() / "models" / f"{name}.json")
    assert config["zero_optimization"]["stage"] == stage


def test_two_engines_at_once():
    with pytest.raises(ConfigError, match="--deepspeed and --engine fsdp name two engines; leave one"):
        DistributedOptions(deepspeed=True, engine="fsdp")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_run_that_goes_on_with_other_workers_meets_each_row_of_an_epoch_once(data):
    """Rows of a batch over all workers stay the same; how many share them changes at any step, repeatedly."""
    rows = data.draw(st.sampled_from([1, 4, 6, 12]), "rows of a batch")
    instances = data.draw(st.integers(rows, 60), "instances")
    ends = data.draw(st.sampled_from(["keep", "carry"]), "of an epoch")
    lengths = None
    if ends == "keep" and data.draw(st.booleans(), "batches of like length"):
        lengths = np.random.default_rng(instances).integers(1, 9, instances)
    sizes = [size for size in (1, 2, 3, 4, 6, 12) if rows % size == 0]

    def batch(step: int, size: int) -> list[int]:
        """Of all workers."""
        settings = {"seed": 3, "ends": ends, "lengths": lengths, "world_size": size}
        shares = (BatchOrder(instances, rows, rank=rank, **settings).batch(step) for rank in range(size))
        return np.concatenate(list(shares)).tolist()

    period = math.ceil(instances / rows)
    # where batches reach over the end of an epoch, as many as whole epochs fill
    steps = range(period, 2 * period) if ends == "keep" else range(math.lcm(instances, rows) // rows)
    times = 1 if ends == "keep" else len(steps) * rows // instances
    seen = [row for step in steps for row in batch(step, data.draw(st.sampled_from(sizes), "workers"))]
    assert sorted(seen) == sorted([*range(instances)] * times)
