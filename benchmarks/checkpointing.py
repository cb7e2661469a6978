"""What saving costs training: the same run without checkpoints, and with one every so many updates.

    python3 benchmarks/checkpointing.py [--layers 24] [--hidden 512] [--every 50] [--updates 150]

The model is a stack of linear layers with AdamW; each side runs in turns, three times, and the medians count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import nn

from uer.checkpoints import write_state
from uer.config.training import OptimizerOptions
from uer.training.engines.base import Engine
from uer.training.optimizers import build_optimizer
from uer.training.saving import Snapshot, Writer
from uer.training.state import Checkpoints
from uer.training.workers import Workers

TRAINING = {"options": {"batch_size": 1}, "dataset": "d", "precision": "fp32", "progress": {}}


def seconds(args: argparse.Namespace, way: str) -> tuple[float, float]:
    """Seconds of the updates, and those in which saving held them up."""
    torch.manual_seed(1)
    model = nn.Sequential(*(nn.Linear(args.hidden, args.hidden) for _ in range(args.layers)))
    engine = Engine(model, build_optimizer(model, OptimizerOptions(learning_rate=1e-4)), Workers())
    rows, held = torch.randn(args.rows, args.hidden), 0.0
    with tempfile.TemporaryDirectory() as folder, Writer() as writer:
        checkpoints = Checkpoints(Path(folder) / "model.bin", limit=1)
        start = time.perf_counter()
        for update in range(1, args.updates + 1):
            engine.clear()
            loss = model(rows).square().mean()
            engine.backward(loss, last=True)
            engine.step(loss.detach(), scale=None, max_norm=1.0)
            if way == "none" or update % args.every:
                continue
            before = time.perf_counter()
            snapshot = Snapshot.take(engine)

            def write(step: int = update, snapshot: Snapshot = snapshot) -> None:
                checkpoints.save(step, write_weights=write_state, snapshot=snapshot, training=TRAINING)

            writer.submit(write)
            if way == "waiting":
                writer.wait()
            held += time.perf_counter() - before
        return time.perf_counter() - start, held


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("layers", 24), ("hidden", 512), ("rows", 4096), ("every", 50), ("updates", 150)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    ways = ("none", "waiting", "beside")
    runs = {way: [] for way in ways}
    for _ in range(3):
        for way in ways:
            runs[way].append(seconds(args, way))
    print(f"{args.layers} layers of {args.hidden}, a checkpoint every {args.every} updates\n")
    print("| saving | seconds of an update | updates held up |\n|---|---|---|")
    for way in ways:
        whole, held = (statistics.median(values) for values in zip(*runs[way]))
        print(f"| {way} | {whole / args.updates:.4f} | {held / whole:.2%} |")


if __name__ == "__main__":
    main()
