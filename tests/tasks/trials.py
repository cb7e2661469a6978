"""A trial for tests of searches: light to import, since every trial is a process of its own."""

import os
import signal

from uer.tasks.study import Talk


def bowl(pipe, params, place):
    """A trial whose score is best at x = 1; some of them die or fail."""
    talk = Talk(pipe)
    if params.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if params.get("memory"):
        pipe.send(("failed", "out of memory: 1 GB"))
        return
    for step in range(3):
        if talk.report(-((params["x"] - 1) ** 2) * (3 - step)):
            pipe.send(("pruned",))
            return
    pipe.send(("done", -((params["x"] - 1) ** 2), 3))
