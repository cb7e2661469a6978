"""UER's way to several processes: one command starts them all, and answers for them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from uer.config.training import DistributedOptions
from uer.training.place import meeting_point, place_of
from uer.utils.logging import logger

LAUNCHED = {"RANK", "SLURM_STEP_ID"}  # set in the environment by torchrun and srun, and by us
GRACE = 30.0  # seconds between asking workers to end and ending them
POLL = 0.1
PR_SET_PDEATHSIG = 1


def launch_workers(script: Path, argv: Sequence[str], options: DistributedOptions) -> int | None:
    """Start the processes that `--world_size` asks for and wait for them.

    The ranks of `--gpu_ranks` run here (other machines start the others), or all of them. The first one has
    our terminal; what the others say is kept and shown when one of them fails.

    Raises:
        EnvironmentFault: GPUs are asked for that are not there.

    Returns:
        the exit code of the whole, or None when this process is to train itself: it is alone, or a worker.
    """
    if options.world_size == 1 or place_of(dict(os.environ), options.master_ip) is not None:
        return None
    from uer.training.devices import check_gpus

    check_gpus(options)
    host, port = meeting_point(options.master_ip)
    ranks = options.gpu_ranks or tuple(range(options.world_size))
    common = {"MASTER_ADDR": host, "MASTER_PORT": str(port), "WORLD_SIZE": str(options.world_size)}
    common["LOCAL_WORLD_SIZE"] = str(len(ranks))
    if not options.gpu_ranks:
        common["OMP_NUM_THREADS"] = os.environ.get(
            "OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(ranks)))
        )
    workers = []
    try:
        for local, rank in enumerate(ranks):
            env = {**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(local)}
            workers.append(_Worker(rank, [sys.executable, str(script), *argv], env, loud=local == 0))
        return _Watch(workers).wait()
    finally:
        for worker in workers:
            worker.close()


def over_all_gpus(options: DistributedOptions) -> DistributedOptions:
    """As many workers as there are GPUs to be seen, where neither flags nor a launcher say how many.

    For fine-tuning, whose `--batch_size` is that of all workers together: it takes what UER-py's DataParallel
    took, and computes the same.
    """
    import torch

    visible = torch.cuda.device_count()
    if visible < 2 or options.world_size > 1 or options.gpu_ranks or LAUNCHED & os.environ.keys():
        return options
    logger.info("One worker on each of %d GPUs; --world_size 1 --gpu_ranks 0 takes one GPU.", visible)
    return options.replace(world_size=visible)


class _Worker:
    """One process."""

    def __init__(self, rank: int, command: list[str], env: dict[str, str], *, loud: bool) -> None:
        self.rank, self.peak, self.kills_before = rank, 0, memory_kills()
        self.said: IO[bytes] | None = None if loud else tempfile.TemporaryFile()  # noqa: SIM115 (`close` does)
        self.process = subprocess.Popen(
            command,
            env=env,
            stdout=None if loud else subprocess.DEVNULL,
            stderr=self.said,
            # A session of its own: Ctrl-C reaches this process, which passes it on once.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )

    def watch_memory(self) -> None:
        """Remember its peak while it can still be asked."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.peak = int(line.split()[1]) * 1024

    def fault(self) -> str:
        """How it ended, with its last words."""
        code = self.process.returncode
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                how += killed_for(memory_kills() > self.kills_before, self.peak)
        words = ""
        if self.said is not None:
            self.said.seek(0)
            lines = self.said.read().decode("utf-8", "replace").strip().splitlines()
            words = f": {lines[-1]}" if lines else ""
        return f"worker {self.rank} {how}{words}"

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.said is not None:
            self.said.close()


class _Watch:
    """Waits for workers; when one fails the others end too."""

    def __init__(self, workers: list[_Worker]) -> None:
        self.workers = workers
        self.signal: int | None = None

    def wait(self) -> int:
        """Exit code: 0, 130 after Ctrl-C or SIGTERM, else that of the first to fail (1 for a signal)."""
        before = {n: signal.signal(n, self._pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            failed = None
            while failed is None and any(worker.process.poll() is None for worker in self.workers):
                time.sleep(POLL)
                for worker in self.workers:
                    worker.watch_memory()
                failed = next((w for w in self.workers if w.process.poll() not in (None, 0)), None)
            failed = failed or next((w for w in self.workers if w.process.returncode), None)
            if failed is None:
                return 0
            if self.signal is not None and failed.process.returncode == 130:
                self._end(signal.SIGCONT)  # all were asked already: let them finish
                return 130
            print(f"error: {failed.fault()}; the others are stopped.", file=sys.stderr)
            self._end(signal.SIGTERM)
            return failed.process.returncode if failed.process.returncode > 0 else 1
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        logger.info("%s: passed on to all workers.", signal.Signals(number).name)
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    def _end(self, number: int) -> None:
        """Send a signal to those that still run, and kill what is left after a while."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)
        until = time.monotonic() + GRACE
        for worker in self.workers:
            try:
                worker.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()


def memory_kills() -> int:
    """How many processes the kernel has ended for want of memory, in this container or on this machine."""
    for file in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat"):
        with contextlib.suppress(OSError):
            for line in Path(file).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def killed_for(memory: bool, peak: int) -> str:
    """What to say of a worker that got SIGKILL.

    Args:
        memory: whether the kernel has ended a process for want of memory meanwhile.
        peak: bytes it had at most; 0: unknown.
    """
    had = f"; it had {peak / 1e9:.1f} GB at most" if peak else ""
    if not memory:
        return f" (by hand, or by the system for want of memory{had})"
    return (
        f" by the kernel for want of memory{had}: lower --batch_size, cut batches by --micro_batches, or add "
        "--gradient_checkpointing"
    )


def _die_with_parent() -> None:
    """Linux ends a worker when the process that started it is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
