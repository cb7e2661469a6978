"""Runs of scripts by two workers, each pair started once: what the tests of engines compare with one process.

As a program: a JSON list of [script, words …], and as many ports at which the workers meet.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that no connection of a worker will take meanwhile: those stand above
    them (`ip_local_port_range`).
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(15000, 32000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("localhost", port))
            ports += [port] if port not in ports else []
    return ports


def two_workers(runs: list[list[str]]) -> str:
    """Run all of them by two workers; what the first one said."""
    command = [sys.executable, __file__, json.dumps(runs), json.dumps(free_ports(len(runs)))]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "OMP_NUM_THREADS": "1"}
    workers = []
    for rank in range(2):
        env = {**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        with open(f"said-{rank}.txt", "wb") as out:
            workers.append(subprocess.Popen(command, env=env, stdout=out, stderr=out))
    until = time.monotonic() + 300
    while any(worker.poll() is None for worker in workers) and time.monotonic() < until:
        time.sleep(0.1)
        if any(worker.poll() for worker in workers):  # the other one would wait for it
            until = min(until, time.monotonic() + 10)
    for worker in workers:
        worker.kill()
    codes = [worker.wait() for worker in workers]
    said = [Path(f"said-{rank}.txt").read_text() for rank in range(2)]
    assert codes == [0, 0], "\n".join(text[-3000:] for text in said)
    return said[0]


def losses(file: Path, key: str = "loss") -> list[float]:
    """One figure of the reports of a run."""
    records = map(json.loads, (Path(f"{file}.run") / "metrics.jsonl").read_text().splitlines())
    return [record[key] for record in records if key in record]


def same(one: dict, other: dict, tolerance: float) -> None:
    """Equal names, shapes and numbers."""
    import torch

    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=tolerance, msg=name)


if __name__ == "__main__":
    import torch.distributed as dist

    from uer.cli import run

    for (script, *words), port in zip(json.loads(sys.argv[1]), json.loads(sys.argv[2])):
        os.environ["MASTER_PORT"] = str(port)
        spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if code := run(module.main, words):
            sys.exit(code)
        if dist.is_initialized():  # fine-tuning leaves that to the end of the process
            (sys.modules["deepspeed"].comm if "deepspeed" in sys.modules else dist).destroy_process_group()
