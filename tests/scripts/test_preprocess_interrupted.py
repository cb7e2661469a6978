"""`preprocess.py` that is killed, fails or cannot write: what is finished stays, and nothing half-written."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.scripts.preprocessing import preprocess_to, sentences
from uer.data import parts, spans
from uer.errors import DataError, EnvironmentFault

ROOT = Path(__file__).resolve().parents[2]
SLOW = """
import sys, time
import preprocess
from uer.cli import run
from uer.data import parts, spans

spans.SPAN, build = {span}, parts.PartBuilder._build


def slowly(self, source, span):
    time.sleep(0.2 * (span.index > 3))
    build(self, source, span)


parts.PartBuilder._build = slowly
sys.exit(run(preprocess.main, sys.argv[1:]))
"""
"""preprocess.py with a fifth of a second a part from the fifth on: it does not end before it is ended"""


def test_a_killed_run_goes_on_from_its_finished_parts(corpus, vocab, small_spans, monkeypatch, capsys):
    preprocess_to("whole.pt", corpus, vocab)
    build, calls = parts.PartBuilder._build, []

    def fails_at_five(self, source, span):
        calls.append(span.index)
        if len(calls) == 5:
            raise KeyboardInterrupt
        build(self, source, span)

    monkeypatch.setattr(parts.PartBuilder, "_build", fails_at_five)
    with pytest.raises(KeyboardInterrupt):
        preprocess_to("again.pt", corpus, vocab)
    folder = next(Path().glob(".again.pt.*.parts"))
    assert len(list(folder.glob("*.part"))) == 4 and not Path("again.pt").exists()
    damaged = folder / "00000002.part"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    monkeypatch.setattr(parts.PartBuilder, "_build", build)
    preprocess_to("again.pt", corpus, vocab)
    assert "An earlier run was cut off" in capsys.readouterr().err
    assert Path("again.pt").read_bytes() == Path("whole.pt").read_bytes() and not folder.exists()


def test_other_work_does_not_use_those_parts(corpus, vocab, small_spans, monkeypatch):
    def stop(self, source, span):
        raise KeyboardInterrupt

    build = parts.PartBuilder._build
    monkeypatch.setattr(parts.PartBuilder, "_build", stop)
    for seed in "12":
        with pytest.raises(KeyboardInterrupt):
            preprocess_to("d.pt", corpus, vocab, "--seed", seed)
    assert len(list(Path().glob(".d.pt.*.parts"))) == 2
    monkeypatch.setattr(parts.PartBuilder, "_build", build)
    os.utime(corpus, (1, 1))
    held, left = sorted(Path().glob(".d.pt.*.parts"))
    with open(held / "lock") as lock:  # as if it were being worked on
        fcntl.flock(lock, fcntl.LOCK_EX)
        preprocess_to("d.pt", corpus, vocab, "--seed", "1")
    assert held.is_dir() and not left.exists(), (
        "nobody comes back for what lies under a dataset that is there"
    )


def test_a_dataset_is_a_file(corpus, vocab):
    with pytest.raises(EnvironmentFault, match=r"^/dev/full: this is no file; give the name of one"):
        preprocess_to("/dev/full", corpus, vocab)
    assert not list(Path("/dev").glob("*.parts"))


def test_text_that_is_at_fault_leaves_nothing(corpus, vocab, small_spans):
    """It has to be mended, and is another text then."""
    Path(corpus).write_bytes(Path(corpus).read_bytes() + b"\xff\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        preprocess_to("d.pt", corpus, vocab)
    assert not list(Path().glob("*d.pt*"))


def test_two_runs_at_the_same_work(corpus, vocab, small_spans, monkeypatch):
    build = parts.PartBuilder._build

    def second_run(self, source, span):
        if span.index == 0 and os.environ.get("INNER") is None:
            monkeypatch.setenv("INNER", "1")
            with pytest.raises(EnvironmentFault, match=r"another preprocess\.py is making this very dataset"):
                preprocess_to("d.pt", corpus, vocab)
            preprocess_to("other.pt", corpus, vocab)
        build(self, source, span)

    monkeypatch.setattr(parts.PartBuilder, "_build", second_run)
    preprocess_to("d.pt", corpus, vocab)
    assert Path("d.pt").read_bytes() == Path("other.pt").read_bytes()


def test_a_killed_worker_is_named(corpus, vocab, small_spans, monkeypatch):
    build = parts.PartBuilder._build

    def dies(self, source, span):
        if span.index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        build(self, source, span)

    monkeypatch.setattr(parts.PartBuilder, "_build", dies)
    with pytest.raises(
        EnvironmentFault, match=r"worker \d \(process \d+\) was killed by SIGKILL .*out of memory\?"
    ):
        preprocess_to("d.pt", corpus, vocab, "--processes_num", "2")
    assert not Path("d.pt").exists()


def test_a_failure_in_a_worker_keeps_its_traceback(corpus, vocab, small_spans, monkeypatch):
    def breaks(self, source, span):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(parts.PartBuilder, "_build", breaks)
    with pytest.raises(RuntimeError, match="a worker failed: a fault of ours\nTraceback"):
        preprocess_to("d.pt", corpus, vocab, "--processes_num", "2")


def test_kill_9_of_the_whole_run(vocab, monkeypatch):
    Path("corpus.txt").write_text(sentences(20_000), encoding="utf-8")
    program = SLOW.format(span=100_000)
    command = [sys.executable, "-c", program, "--corpus_path", "corpus.txt", "--vocab_path", vocab]
    command += ["--processes_num", "2", "--dataset_path", "d.pt"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 60
    while not list(Path().glob(".d.pt.*.parts/*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(Path().glob(".d.pt.*.parts/*.part")) and not Path("d.pt").exists()
    monkeypatch.setattr(spans, "SPAN", 100_000)
    preprocess_to("d.pt", "corpus.txt", vocab)
    preprocess_to("whole.pt", "corpus.txt", vocab)
    assert Path("d.pt").read_bytes() == Path("whole.pt").read_bytes()


def test_ctrl_c_ends_with_130_and_keeps_what_is_finished(vocab):
    Path("corpus.txt").write_text(sentences(20_000), encoding="utf-8")
    program = SLOW.format(span=50_000)
    command = [sys.executable, "-c", program, "--corpus_path", "corpus.txt", "--vocab_path", vocab]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, "--processes_num", "2", "--dataset_path", "d.pt"],
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(Path().glob(".d.pt.*.parts/*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.splitlines()[-1] == "interrupted"
    assert list(Path().glob(".d.pt.*.parts/*.part")) and not Path("d.pt").exists()


def test_where_it_cannot_write(corpus, vocab):
    Path("folder").mkdir()
    with pytest.raises(
        EnvironmentFault, match="folder: this is a folder; give a file name with --dataset_path"
    ):
        preprocess_to("folder", corpus, vocab)
    with pytest.raises(EnvironmentFault, match=r"corpus\.txt/d\.pt: Not a directory"):
        preprocess_to("corpus.txt/d.pt", corpus, vocab)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (13, r"d\.pt: the folder may not be written to"),
        (30, r"d\.pt: .*Read-only file system"),
        (28, r"d\.pt: the disk is full"),
    ],
)
def test_a_folder_that_takes_no_files(corpus, vocab, monkeypatch, number, message):
    """Where the parts would lie. A superuser may write anywhere, so the refusal is played."""
    real = os.mkdir

    def refuse(path, *args, **kwargs):
        if str(path).endswith(".parts"):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(EnvironmentFault, match=message):
        preprocess_to("d.pt", corpus, vocab)
    assert not Path("d.pt").exists()


def test_a_full_disk(corpus, vocab, monkeypatch):
    from uer.data import store as store_module

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "_write_array", full)
    with pytest.raises(EnvironmentFault, match="the disk is full; free some room"):
        preprocess_to("d.pt", corpus, vocab)
    assert not Path("d.pt").exists()
