"""A search by optuna: trials as processes of their own, kept in a data base, so that a killed search goes on.

Only this process talks to the data base. A trial is a process that reports its scores through a pipe and may
be told to stop; one that runs out of memory, or is killed for it, is a failed trial and nothing more.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from uer.config.space import Range
from uer.errors import DataError, UerError
from uer.utils.lazy import optional
from uer.utils.logging import logger

PRELOADED = ["torch", "uer.tasks.trial"]
"""imported once, by the process that trials are forked from"""
Work = Callable[[Connection, Mapping[str, Any], int], None]
"""a trial: (pipe, values of the space, number of its place) → messages; see `Talk`"""


class Talk:
    """What a trial says, and hears, through its pipe.

    ("score", number of the evaluation, value) is answered by True when the trial is to stop;
    ("done", score, epoch), ("failed", why) and ("pruned",) end it.
    """

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.evaluations = pipe, 0

    def report(self, value: float) -> bool:
        """Say a score; True: stop."""
        self.evaluations += 1
        self.pipe.send(("score", self.evaluations, value))
        return self.pipe.recv()


@dataclass
class Attempt:
    """A trial as the table and the page show it."""

    params: dict[str, Any]
    score: float | None = None
    epoch: int = 0
    seconds: float = 0.0
    note: str = ""


@dataclass
class _Running:
    trial: Any
    process: Any
    place: int
    began: float = field(default_factory=time.perf_counter)


class Study:
    """A search in a data base.

    Args:
        path: of the data base (sqlite). key: of this search among others in it.
        space: what is searched. how: grid, random or tpe. pruner: none, median or asha.
        seed: of the draws.

    Raises:
        DataError: the file is no such data base.
        EnvironmentFault: optuna is not installed.
    """

    def __init__(
        self, path: Path, key: str, space: Mapping[str, Range], *, how: str, pruner: str, seed: int
    ) -> None:
        self.optuna = optional("optuna", "search")
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        self.space, self.how = space, how
        self.distributions = {name: self._distribution(entry) for name, entry in space.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        pruners = self.optuna.pruners
        chosen = {
            "none": pruners.NopPruner,
            "median": lambda: pruners.MedianPruner(n_startup_trials=4),
            "asha": pruners.SuccessiveHalvingPruner,
        }[pruner]()
        try:
            self.study = self.optuna.create_study(
                storage=f"sqlite:///{path}",
                study_name=key,
                direction="maximize",
                pruner=chosen,
                load_if_exists=True,
            )
        except Exception as error:
            if type(error).__module__.split(".")[0] not in ("sqlalchemy", "sqlite3", "optuna", "alembic"):
                raise
            raise DataError(
                f"cannot be used for the search ({str(error).splitlines()[0]}); name another --study_path.",
                path=path,
            ) from error
        self._take_up()
        # The same seed again would draw again what was drawn before the search was killed.
        self.study.sampler = self._sampler(seed + len(self.study.get_trials(deepcopy=False)))

    def _sampler(self, seed: int) -> Any:
        samplers = self.optuna.samplers
        if self.how == "tpe":
            return samplers.TPESampler(seed=seed, constant_liar=True)
        return samplers.RandomSampler(seed=seed)

    def _distribution(self, entry: Range) -> Any:
        kinds = self.optuna.distributions
        if entry.kind == "choice":
            return kinds.CategoricalDistribution(list(entry.values))
        if entry.kind == "int":
            return kinds.IntDistribution(*entry.values)
        return kinds.FloatDistribution(*entry.values, log=entry.kind == "loguniform")

    def _take_up(self) -> None:
        """Queue again what ran when the search was killed."""
        for trial in self.study.get_trials(states=[self.optuna.trial.TrialState.RUNNING]):
            self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)
            self.study.enqueue_trial(trial.params)

    def queue_grid(self) -> int:
        """Queue all combinations that were not tried; their number."""
        names = list(self.space)
        combined = list(itertools.product(*(self.space[name].listed for name in names)))
        tried = [attempt.params for attempt in self.attempts()]
        waiting = self.study.get_trials(states=[self.optuna.trial.TrialState.WAITING])
        tried += [trial.system_attrs.get("fixed_params") for trial in waiting]
        for values in combined:
            params = dict(zip(names, values))
            if params not in tried:
                self.study.enqueue_trial(params)
        return len(combined)

    def attempts(self) -> list[Attempt]:
        """All trials that came to an end by themselves, in their order."""
        out = []
        for trial in self.study.get_trials(deepcopy=False):
            facts = trial.user_attrs
            if trial.state.is_finished() and "seconds" in facts:
                score = trial.value if trial.state == self.optuna.trial.TrialState.COMPLETE else None
                common = (facts["epoch"], facts["seconds"], facts["note"])
                out.append(Attempt(dict(trial.params), score, *common))
        return out

    def run(
        self,
        work: Work,
        total: int,
        workers: int,
        after: Callable[[Attempt], None] = lambda attempt: None,
    ) -> list[Attempt]:
        """Run trials until `total` have come to an end.

        Args:
            work: a function of a module, called in a process of its own.
            workers: processes at a time. after: told of each trial that ended.

        Returns:
            all trials.

        Raises:
            UerError: every trial failed.
        """
        context = warm()
        ended, running = len(self.attempts()), {}
        if ended:
            logger.info(f"{ended} of {total} trials are finished and not run again.")
        try:
            while True:
                while ended + len(running) < total and len(running) < workers:
                    place = min(set(range(workers)) - {each.place for each in running.values()})
                    self._start(context, work, place, running)
                if not running:
                    break
                for pipe in wait(list(running)):
                    attempt = self._hear(pipe, running)
                    if attempt is not None:
                        ended += 1
                        after(attempt)
        finally:
            for each in running.values():
                each.process.kill()
        attempts = self.attempts()
        if all(attempt.score is None for attempt in attempts):
            raise UerError(f"all {len(attempts)} trials failed; the first: {attempts[0].note}")
        return attempts

    def _start(self, context: Any, work: Work, place: int, running: dict[Connection, _Running]) -> None:
        trial = self.study.ask(self.distributions)
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, dict(trial.params), place), daemon=True)
        process.start()
        theirs.close()
        running[ours] = _Running(trial, process, place)

    def _hear(self, pipe: Connection, running: dict[Connection, _Running]) -> Attempt | None:
        """Take in one message of a trial; the trial, when it ended with it."""
        each, states = running[pipe], self.optuna.trial.TrialState
        try:
            message = pipe.recv()
        except (EOFError, ConnectionResetError):
            each.process.join()
            code = each.process.exitcode
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            memory = "; out of memory?" if code == -9 else ""
            message = ("failed", f"its process {how}{memory}")
        if message[0] == "score":
            each.trial.report(message[2], message[1])
            pipe.send(each.trial.should_prune())
            return None
        del running[pipe]
        pipe.close()
        attempt = Attempt(dict(each.trial.params), seconds=round(time.perf_counter() - each.began, 2))
        state = {"done": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[message[0]]
        if message[0] == "done":
            attempt.score, attempt.epoch = message[1], message[2]
        else:
            attempt.note = "pruned" if message[0] == "pruned" else message[1]
        for name in ("epoch", "seconds", "note"):
            each.trial.set_user_attr(name, getattr(attempt, name))
        self.study.tell(each.trial, attempt.score, state=state)
        return attempt


def warm() -> Any:
    """The context that trials are started in. The process that they are forked from begins at once to import
    what they need, beside what this one does.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()
    return context


def places(workers: int | None, gpus: int) -> tuple[int, int]:
    """How many trials at a time, and threads of each: one a GPU, else one a core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = workers or gpus or cores
    return count, max(1, cores // count)


def best_attempt(attempts: Sequence[Attempt]) -> Attempt | None:
    """The trial with the highest score, the first of equal ones; None when none has one."""
    scored = [attempt for attempt in attempts if attempt.score is not None]
    return max(scored, key=lambda attempt: attempt.score) if scored else None
