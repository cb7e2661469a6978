"""Trials of a search: what one says in this process, and a search that is killed while they run."""

import html
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys

import pytest
import torch

from tests.tasks.scripts import Folder, finetune, sentence, words
from uer.tasks import trial
from uer.tasks.classifier import ClassifierTask
from uer.tasks.study import Attempt, Study
from uer.utils.files import repository_root

ROOT = repository_root()


@pytest.fixture
def folder(tmp_path):
    folder, rng = Folder(tmp_path), random.Random(2)
    folder.table("rows.tsv", ["label", "text_a"], [[rng.choice("xy"), sentence(rng)] for _ in range(48)])
    return folder


class Pipe:
    """The end of a trial; it is told to stop at some evaluation."""

    def __init__(self, stop=None):
        self.said, self.stop = [], stop

    def send(self, message):
        self.said.append(message)

    def recv(self):
        return self.stop is not None and self.said[-1][1] >= self.stop


@pytest.fixture
def tried(folder, monkeypatch):
    """`tried(pipe, learning_rate=…)`: what a trial with these values says, in this process."""

    def search(pipe, before=lambda: None, **params):
        def run(self, work, total, workers, after):
            before()
            threads = torch.get_num_threads()
            work(pipe, params, 0)
            torch.set_num_threads(threads)
            return [Attempt(params, 0.5, 1)]

        monkeypatch.setattr(Study, "run", run)
        settings = {"search": "random", "search_space": ["learning_rate=loguniform(1e-5,1e-2)"]}
        assert finetune("run_classifier_grid", folder, epochs_num=3, **settings) == 0
        return pipe.said

    return search


def test_text_is_read_once(folder, tried, monkeypatch):
    """Before the trials; the files need not be there any more."""
    read, inner = [], ClassifierTask.read

    def counted(self, path, **more):
        read.append(path)
        return inner(self, path, **more)

    monkeypatch.setattr(ClassifierTask, "read", counted)
    said = tried(Pipe(), (folder.path / "rows.tsv").unlink, learning_rate=1e-3)
    assert [message[0] for message in said] == ["score", "score", "score", "done"]
    assert len(read) == 2


def test_a_trial_ends_where_it_is_given_up(tried):
    said = tried(Pipe(stop=2), learning_rate=1e-3)
    assert [message[:2] for message in said] == [("score", 1), ("score", 2), ("pruned",)]


def too_much(*_, **__):
    torch.empty(1 << 60, dtype=torch.uint8)


def no_room(*_, **__):
    raise MemoryError


def of_a_gpu(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")


IN_TRAINING = r"memory ran out \(.*\): type --batch_size auto"


@pytest.mark.parametrize(
    ("place", "fault", "why"),
    [
        ("evaluate", too_much, IN_TRAINING),
        ("evaluate", of_a_gpu, IN_TRAINING),
        ("start_weights", too_much, "out of memory: .*allocate memory"),
        ("start_weights", of_a_gpu, "out of memory: CUDA.* 2 GiB.$"),
        ("start_weights", no_room, "out of memory: no room left"),
    ],
)
def test_a_trial_without_memory_is_a_failed_trial(tried, monkeypatch, place, fault, why):
    monkeypatch.setattr(trial, place, fault)
    ((kind, note),) = tried(Pipe(), learning_rate=1e-3)
    assert kind == "failed" and re.match(why, note)


def test_other_faults_are_not_hidden(tried, monkeypatch):
    def fault(*_, **__):
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr(trial, "evaluate", fault)
    with pytest.raises(RuntimeError, match="a fault of the program"):
        tried(Pipe(), learning_rate=1e-3)


@pytest.mark.slow
def test_a_search_that_is_killed_and_the_command_that_is_pasted(folder):
    """Killed at once, as by the system; then the same command goes on, and what its page says is run."""
    flags = {"train_path": folder / "rows.tsv", "dev_path": folder / "rows.tsv", "precision": "fp32"}
    flags |= {"output_model_path": folder / "model.bin", "vocab_path": folder.vocab}
    flags |= {"config_path": folder.config, "epochs_num": 2, "batch_size": 16, "search": "random"}
    flags |= {"trials_num": 4, "workers_num": 1, "search_space": ["learning_rate=loguniform(1e-4,1e-2)"]}
    command = [sys.executable, str(ROOT / "finetune" / "run_classifier_grid.py"), *words(**flags)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as search:
        for line in search.stderr:
            if "Trial 2/4" in line:
                break
        search.send_signal(signal.SIGKILL)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    found = int(re.search(r"(\d) of 4 trials are finished and not run again", again.stderr)[1])
    assert 2 <= found < 4
    best = re.search(r"Best Acc. is: (0\.\d+)", again.stderr)[1]
    page = (folder.path / "model.bin.search" / "search.html").read_text(encoding="utf-8")
    assert "4 of 4 trials" in page
    pasted = html.unescape(re.sub("<[^>]*>", "", re.search("<pre>(.*?)</pre>", page, re.S)[1]))
    assert pasted == again.stdout.strip().splitlines()[-1]
    plan = json.loads((folder.path / "model.bin.search" / "plan.json").read_text())
    pasted = pasted.replace("python3", shlex.quote(sys.executable), 1)
    environment = {**os.environ, "OMP_NUM_THREADS": str(plan["threads"])}
    told = {"shell": True, "cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    assert f"score {best}" in subprocess.run(pasted, check=True, **told).stderr
