"""Jobs shared among processes: errors come back as they were, a killed process is named, Ctrl-C stops all."""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from uer.errors import EnvironmentFault, UerError

Job = Any


class Done(NamedTuple):
    """A finished job.

    Attributes:
        job: what was asked for.
        result: what came of it.
        memory: the largest memory of the process so far, in bytes.
    """

    job: Job
    result: Any
    memory: int


def _memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run_jobs(
    work: Callable[[Job], Any], jobs: Iterable[Job], processes: int, describe: Callable[[Job], str] = str
) -> Iterator[Done]:
    """Do all jobs and yield each as it is finished, in any order; one process means this one.

    Args:
        work: does a job; runs in forked processes, so it may hold anything.
        jobs: asked for one at a time, never far ahead of the work.
        describe: a job in words, for the message about a killed process.

    Raises:
        UerError: as `work` raised it.
        RuntimeError: `work` failed otherwise; the message holds the traceback.
        EnvironmentFault: a process died.
    """
    if processes == 1:
        for job in jobs:
            yield Done(job, work(job), _memory())
        return
    pool = _Pool(work, processes, describe)
    try:
        yield from pool.run(iter(jobs))
    finally:
        pool.stop()


class _Pool:
    """Forked processes, one job each at a time."""

    def __init__(self, work: Callable[[Job], Any], processes: int, describe: Callable[[Job], str]) -> None:
        context = multiprocessing.get_context("fork")
        self._describe = describe
        self._busy: dict[Connection, Job] = {}
        self._idle: list[Connection] = []
        self._processes: dict[Connection, Any] = {}
        for number in range(processes):
            ours, theirs = context.Pipe()
            inherited = [*self._processes, ours]
            process = context.Process(
                target=_serve, args=(work, theirs, inherited), name=f"worker {number}", daemon=True
            )
            process.start()
            theirs.close()
            self._processes[ours] = process
            self._idle.append(ours)

    def run(self, jobs: Iterator[Job]) -> Iterator[Done]:
        """Hand out the jobs, one to a process at a time, and yield what is finished."""
        more = True
        while True:
            while more and self._idle:
                job = next(jobs, None)
                if job is None:
                    more = False
                    break
                connection = self._idle.pop()
                self._busy[connection] = job
                with contextlib.suppress(BrokenPipeError):  # it died; `_receive` says so
                    connection.send(job)
            if not self._busy:
                return
            for connection in wait(list(self._busy)):
                yield self._receive(connection)

    def _receive(self, connection: Connection) -> Done:
        job = self._busy.pop(connection)
        try:
            kind, value, memory = connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._death(connection, job) from None
        if kind == "error":
            raise value
        self._idle.append(connection)
        return Done(job, value, memory)

    def _death(self, connection: Connection, job: Job) -> EnvironmentFault:
        process = self._processes[connection]
        process.join(5)
        code = process.exitcode
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"ended with code {code}"
        why = "; out of memory? use fewer --processes_num" if code == -signal.SIGKILL else ""
        return EnvironmentFault(
            f"{process.name} (process {process.pid}) {how} while it worked on {self._describe(job)}{why}. "
            "What was finished stays; the same command goes on from there."
        )

    def stop(self) -> None:
        """End the processes, working or not."""
        for connection, process in self._processes.items():
            if connection in self._busy:
                process.terminate()
            connection.close()
        for process in self._processes.values():
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(work: Callable[[Job], Any], connection: Connection, inherited: list[Connection]) -> None:
    """A worker process: jobs in, results out, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:
        other.close()  # else we would not notice that the parent is gone
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job = connection.recv()
            try:
                answer = ("done", work(job), _memory())
            except UerError as error:
                answer = ("error", error, 0)
            except Exception as error:
                trace = traceback.format_exc()
                answer = ("error", RuntimeError(f"a worker failed: {error}\n{trace}"), 0)
            connection.send(answer)
