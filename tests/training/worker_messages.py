"""What `test_workers.py` starts as two workers: each writes down what it is told."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from uer.config.training import DistributedOptions
from uer.errors import EnvironmentFault
from uer.training.devices import choose_workers


def told(job) -> str:
    """The message of what a job raises."""
    try:
        job()
    except EnvironmentFault as error:
        return str(error)
    return "nothing"


if __name__ == "__main__":
    if sys.argv[1] == "killed":
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
    workers = choose_workers(DistributedOptions(timeout=60))
    rank = workers.rank
    lines = [
        told(lambda: workers.agree("the run", "the same")),
        told(lambda: workers.agree("the run", f"{rank}")),
        told(lambda: workers.check_ids([rank, 2])),
        told(lambda: workers.check_ids([1, 2])),
        f"{workers.sum(torch.tensor([1.0, rank])).tolist()}",
        f"{float(workers.any(torch.tensor(float(rank == 1))))}",
        f"{workers.first_says(rank == 1)}",
    ]
    Path(f"told-{rank}.txt").write_text("\n".join(lines))
    workers.close()
