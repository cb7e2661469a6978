"""What `test_workers.py` starts as two workers: each writes down what it is told, or what it computed."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from uer.config.training import DistributedOptions
from uer.errors import EnvironmentFault
from uer.layers.rows import rows_of_all
from uer.training.devices import choose_workers


def told(job) -> str:
    """The message of what a job raises."""
    try:
        job()
    except EnvironmentFault as error:
        return str(error)
    return "nothing"


def contrasted(rows: torch.Tensor) -> torch.Tensor:
    """A loss of each row of this worker that looks at the rows of all."""
    everyone, start = rows_of_all(rows)
    own = start + torch.arange(len(rows))
    return torch.nn.functional.cross_entropy(rows @ everyone.T.sin(), own, reduction="sum")


def shared_rows(numbers: list[list[int]], live: list[bool], workers) -> list:
    """Loss of this worker's rows of a batch, and its gradient."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(8, 3, dtype=torch.float64, generator=generator)[numbers[workers.rank]].requires_grad_()
    with workers.comparing(live[workers.rank]):
        loss = contrasted(rows) * live[workers.rank]
    loss.backward()
    return [loss.item(), rows.grad.tolist()]


if __name__ == "__main__":
    if sys.argv[1] == "killed":
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
    workers = choose_workers(DistributedOptions(timeout=60))
    rank = workers.rank
    if sys.argv[1] == "rows":
        cases = [shared_rows(*case, workers) for case in json.loads(sys.argv[2])]
        Path(f"told-{rank}.txt").write_text(json.dumps(cases))
        workers.close()
        sys.exit()
    lines = [
        told(lambda: workers.agree("the run", "the same")),
        told(lambda: workers.agree("the run", f"{rank}")),
        told(lambda: workers.check_ids([rank, 2])),
        told(lambda: workers.check_ids([1, 2])),
        f"{workers.of_all([[0, 1], [10]][rank])}",
        f"{workers.sum(torch.tensor([1.0, rank])).tolist()}",
        f"{float(workers.any(torch.tensor(float(rank == 1))))}",
        f"{workers.first_says(rank == 1)}",
    ]
    Path(f"told-{rank}.txt").write_text("\n".join(lines))
    workers.close()
