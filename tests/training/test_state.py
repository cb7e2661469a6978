"""Checkpoints of a run: whole or not there, the newest whole one is found, foreign ones are refused."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from tests.training.toy import Toy, batches, train
from uer.checkpoints import read_state, write_state
from uer.config.training import NEWEST, OptimizerOptions
from uer.errors import CheckpointError, EnvironmentFault
from uer.layers import kernels
from uer.training import state
from uer.training.engines.base import Engine
from uer.training.optimizers import build_optimizer, named_state
from uer.training.saving import Snapshot, Writer
from uer.training.state import Checkpoints, fingerprint, read_checkpoint
from uer.training.workers import Workers
from uer.utils.logging import logger

ABOUT = {"options": {"batch_size": 4, "learning_rate": 0.02, "report_steps": 10}, "dataset": "d1"}


@pytest.fixture
def lines(monkeypatch):
    """What was logged."""
    said: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(logger, level, lambda text, *values: said.append(text % values))
    return said


@pytest.fixture
def trained():
    """A trained model and its optimiser."""
    model = Toy()
    return model, train(model, batches(4), 3)


def save(checkpoints: Checkpoints, step: int, trained, **changes) -> Path:
    model, optimizer = trained
    return checkpoints.save(
        step,
        write_weights=write_state,
        snapshot=Snapshot.take(Engine(model, optimizer, Workers())),
        training={**ABOUT, "precision": "fp32", "progress": {"skipped": 1}, **changes},
    )


def names() -> list[str]:
    return sorted(entry.name for entry in Path().iterdir())


def test_what_is_written_comes_back(trained):
    path = save(Checkpoints("m.bin"), 3, trained)
    assert names() == ["m.bin-3", "m.bin-3.state"]
    assert sorted(entry.name for entry in Path("m.bin-3.state").iterdir()) == [
        "manifest.json",
        "optimizer.safetensors",
        "training.json",
    ]
    found = read_checkpoint(path)
    assert (found.step, found.training["progress"], found.training["precision"]) == (
        3,
        {"skipped": 1},
        "fp32",
    )
    assert (
        found.training["threads"] == torch.get_num_threads() and found.training["kernels"] == kernels.chosen()
    )
    model = Toy(seed=1)
    model.load_state_dict(read_state(found.path))
    optimizer = build_optimizer(model, OptimizerOptions())
    found.load_optimizer(Engine(model, optimizer, Workers()))
    expected = named_state(trained[1])
    assert named_state(optimizer).keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in named_state(optimizer).items())


def test_no_pickle_in_the_state(trained):
    save(Checkpoints("m.bin"), 3, trained)
    for file in Path("m.bin-3.state").iterdir():
        content = file.read_bytes()
        assert content[:1] == b"{" or content[8:9] == b"{", "JSON or safetensors"


def test_the_newest_whole_checkpoint_is_found(trained, lines):
    checkpoints = Checkpoints("m.bin")
    for step in (2, 4, 10):
        save(checkpoints, step, trained)
    assert checkpoints.find(NEWEST, ABOUT).step == 10
    assert lines == ["Resuming from m.bin-10, after 10 steps."]
    assert checkpoints.find("m.bin-4", ABOUT).step == 4


@pytest.mark.parametrize(
    "part", ["", ".state/optimizer.safetensors", ".state/training.json", ".state/manifest.json"]
)
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_checkpoint_is_passed_over_and_said(trained, lines, part, damage):
    checkpoints = Checkpoints("m.bin")
    save(checkpoints, 2, trained)
    save(checkpoints, 4, trained)
    file = Path(f"m.bin-4{part}")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    assert checkpoints.find(NEWEST, ABOUT).step == 2
    assert any("Falling back to m.bin-2." in line and "m.bin-4" in line for line in lines)
    with pytest.raises(CheckpointError, match=r"m\.bin-4"):
        checkpoints.find("m.bin-4", ABOUT)


def test_a_damaged_companion_makes_a_damaged_checkpoint(trained, lines):
    """The tokenizer and the settings of a model are as much a part of it as its weights."""

    def write(path, weights):
        write_state(path, weights)
        folder = Path(f"{path}.meta/tokenizer")
        folder.mkdir(parents=True)
        (folder / "vocab.txt").write_text("a\nb\n")

    checkpoints, snapshot = Checkpoints("m.bin"), Snapshot.take(Engine(*trained, Workers()))
    for step in (2, 4):
        checkpoints.save(step, write_weights=write, snapshot=snapshot, training={**ABOUT, "progress": {}})
    assert checkpoints.find(NEWEST, ABOUT).step == 4
    Path("m.bin-4.meta/tokenizer/vocab.txt").write_text("a\n")
    assert checkpoints.find(NEWEST, ABOUT).step == 2
    said = "m.bin-4.meta/tokenizer/vocab.txt is truncated or damaged (its checksum differs). Falling back to"
    assert any(line.startswith(said) for line in lines)


def test_what_a_run_keeps_is_said_when_something_else_is_typed(trained, lines):
    about = {**ABOUT, "options": {**ABOUT["options"], "precision": "auto", "micro_batches": "auto"}}
    save(Checkpoints("m.bin"), 2, trained, **about, precision="fp32", micro_batches="2")
    for typed, said in (
        ({}, []),
        ({"precision": "fp32", "micro_batches": "2"}, []),
        ({"precision": "bf16"}, ["--precision bf16 has no effect: the run goes on as it began, with fp32."]),
        ({"micro_batches": "1"}, ["--micro_batches 1 has no effect: the run goes on as it began, with 2."]),
    ):
        lines.clear()
        Checkpoints("m.bin").find(NEWEST, {**about, "options": {**about["options"], **typed}})
        assert lines[:-1] == said


def test_when_none_is_whole_the_run_does_not_start(trained):
    checkpoints = Checkpoints("m.bin")
    save(checkpoints, 2, trained)
    Path("m.bin-2").write_bytes(b"x")
    with pytest.raises(
        CheckpointError, match=r"m\.bin-2 is truncated or damaged \(its checksum differs\)\. No whole"
    ):
        checkpoints.find(NEWEST, ABOUT)


def test_without_checkpoints_the_run_starts_and_says_so(trained, lines):
    assert Checkpoints("folder/m.bin").find(NEWEST, ABOUT) is None
    assert lines == ["No checkpoint of folder/m.bin is there: the run starts at step 0."]


def test_weights_without_state_or_nothing_at_all(trained):
    write_state("m.bin-5", trained[0].state_dict())
    assert Checkpoints("m.bin").find(NEWEST, ABOUT) is None
    with pytest.raises(CheckpointError, match=r"m.bin-5 has no training state \(m.bin-5.state/ is missing\)"):
        Checkpoints("m.bin").find("m.bin-5", ABOUT)
    with pytest.raises(
        CheckpointError, match=r"m.bin-6 does not exist; name a checkpoint NAME-STEP with --resume"
    ):
        Checkpoints("m.bin").find("m.bin-6", ABOUT)


def test_a_state_of_a_newer_version_is_refused(trained):
    save(Checkpoints("m.bin"), 2, trained)
    manifest = Path("m.bin-2.state/manifest.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(
        CheckpointError, match=r"m.bin-2.state has format 99, this version reads up to 1; update it"
    ):
        read_checkpoint("m.bin-2")


def test_another_dataset_or_another_kind_of_run_is_refused(trained, lines):
    save(Checkpoints("m.bin"), 2, trained)
    with pytest.raises(
        CheckpointError, match=r"m.bin-2 belongs to a run on another dataset \(fingerprint d1, now d2\)"
    ):
        Checkpoints("m.bin").find(NEWEST, {**ABOUT, "dataset": "d2"})
    options = {**ABOUT["options"], "batch_size": 8}
    with pytest.raises(
        CheckpointError, match="belongs to a run with batches of 4 rows over all workers, now they have 8"
    ):
        Checkpoints("m.bin").find(NEWEST, {**ABOUT, "options": options})
    options = {"batch_size": 4, "learning_rate": 0.1, "report_steps": 99}
    assert Checkpoints("m.bin").find(NEWEST, {**ABOUT, "options": options}).step == 2
    assert lines[0] == "--learning_rate was 0.02 and is 0.1 from here on: not the numbers of one run."
    assert len(lines) == 2


def test_the_number_of_threads_is_that_of_the_run(trained, lines):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        save(Checkpoints("m.bin"), 2, trained)
        torch.set_num_threads(2)
        Checkpoints("m.bin").find(NEWEST, ABOUT)
        assert torch.get_num_threads() == 3
        assert lines[-1] == "The run so far used 3 threads, not 2: it goes on with 3, for equal sums."
    finally:
        torch.set_num_threads(before)


def test_an_earlier_run_is_announced_and_replaced_at_the_first_save(trained, lines):
    old = Checkpoints("m.bin")
    for step in (5, 10):
        save(old, step, trained)
    write_state("m.bin-7", trained[0].state_dict())  # somebody else's: it has no training state
    new = Checkpoints("m.bin")
    assert new.find(None, ABOUT) is None
    assert lines == [
        "m.bin-10 and 1 more is there from an earlier run and will be replaced at the first save "
        "(to continue that run, stop now and add --resume)."
    ]
    assert "m.bin-10" in names() and "m.bin-5.state" in names(), "nothing is touched before that"
    save(new, 2, trained)
    assert names() == ["m.bin-2", "m.bin-2.state", "m.bin-7"]
    save(new, 4, trained)
    assert "m.bin-2" in names()


def test_a_new_run_counts_as_newer_than_the_higher_steps_of_an_old_one(trained, monkeypatch):
    save(Checkpoints("m.bin"), 10, trained)
    monkeypatch.setattr(state, "remove_checkpoint", lambda path: None)
    monkeypatch.setattr(state, "remove_folder", lambda path: None)
    new = Checkpoints("m.bin")
    new.find(None, ABOUT)
    save(new, 2, trained)  # as if killed before the old ones were removed
    assert Checkpoints("m.bin").find(NEWEST, ABOUT).step == 2


def test_only_so_many_are_kept(trained):
    checkpoints = Checkpoints("m.bin", limit=2)
    for step in (2, 4, 6, 10):
        save(checkpoints, step, trained)
    assert names() == ["m.bin-10", "m.bin-10.state", "m.bin-6", "m.bin-6.state"]


def test_the_best_on_held_out_text_is_kept_beside_the_newest(trained):
    """By the loss that each was seen with; one that nobody looked at is no candidate."""
    checkpoints = Checkpoints("m.bin", limit=1)
    assert checkpoints.best() is None
    for step, loss in ((2, 3.0), (4, 1.5), (6, 2.0), (8, None), (10, 1.6)):
        save(checkpoints, step, trained, **({} if loss is None else {"held_out_loss": loss}))
    assert names() == ["m.bin-10", "m.bin-10.state", "m.bin-4", "m.bin-4.state"]
    save(checkpoints, 12, trained, held_out_loss=1.0)
    assert names() == ["m.bin-12", "m.bin-12.state"] and checkpoints.best() == Path("m.bin-12")


def test_names_with_signs_of_patterns(trained):
    checkpoints = Checkpoints("m[1]*.bin")
    save(checkpoints, 2, trained)
    save(Checkpoints("m1.bin"), 9, trained)
    assert checkpoints.find(NEWEST, ABOUT).path == Path("m[1]*.bin-2")


def test_a_full_disk_leaves_the_checkpoints_before_it(trained, monkeypatch):
    checkpoints = Checkpoints("m.bin")
    save(checkpoints, 2, trained)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(state, "write_tensors", full)
    with pytest.raises(EnvironmentFault, match=r"m.bin-4.state: the disk is full; free some room"):
        save(checkpoints, 4, trained)
    assert checkpoints.find(NEWEST, ABOUT).step == 2
    assert names() == ["m.bin-2", "m.bin-2.state"], "what was begun takes no room"


def test_too_little_room_is_said_before_the_run(trained, monkeypatch):
    Usage = namedtuple("Usage", "free")
    checkpoints = Checkpoints("new/folder/m.bin")
    monkeypatch.setattr(state.shutil, "disk_usage", lambda folder: Usage(5_000))
    with pytest.raises(
        EnvironmentFault, match=r"new/folder/m.bin: a checkpoint takes 0 MB and 0 MB are free; free some"
    ):
        checkpoints.check_room(trained[0])
    with pytest.raises(EnvironmentFault, match="a checkpoint takes 0 MB and 0 MB are free"):
        save(checkpoints, 2, trained)
    assert names() == []
    monkeypatch.setattr(state.shutil, "disk_usage", lambda folder: Usage(50_000))
    checkpoints.check_room(trained[0])
    save(checkpoints, 2, trained)


def test_a_snapshot_does_not_follow_the_model(trained):
    model, optimizer = trained
    taken = Snapshot.take(Engine(model, optimizer, Workers()))
    before = {name: x.clone() for name, x in model.state_dict().items()}
    train(model, batches(4), 3, optimizer=optimizer)
    assert all(torch.equal(taken.weights[name], before[name]) for name in before)
    assert not torch.equal(model.state_dict()["mlm.weight"], before["mlm.weight"])


def test_writing_beside_training():
    order, go_on = [], threading.Event()
    with Writer() as writer:
        writer.submit(lambda: (go_on.wait(10), order.append("first")))
        order.append("training")
        go_on.set()
        writer.submit(lambda: order.append("second"))
    assert order == ["training", "first", "second"]

    def fail() -> None:
        raise EnvironmentFault("the disk is full")

    with pytest.raises(EnvironmentFault, match="the disk is full"), Writer() as writer:
        writer.submit(fail)
    with pytest.raises(ValueError, match="the first error"), Writer() as writer:
        writer.submit(fail)
        raise ValueError("the first error")


def test_a_signal_lets_the_last_checkpoint_be_written(lines):
    """Training is over by then, and a process that dies at once would lose what it did last."""
    before, done = signal.getsignal(signal.SIGTERM), []

    def write() -> None:
        while signal.getsignal(signal.SIGTERM) == before:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        done.append("written")

    with pytest.raises(KeyboardInterrupt), Writer() as writer:
        writer.submit(write)
    assert done == ["written"] and signal.getsignal(signal.SIGTERM) == before
    assert lines == ["SIGTERM: stopping after the checkpoint is written; once more stops at once."]


def test_leftovers_of_killed_processes_are_removed(trained):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (
        f".m.bin-4.{dead.pid}.tmp",
        f".m.bin-4.{os.getpid()}.tmp",
        f".m.bin-4.{os.getppid()}.tmp",
        f".m.ema.bin-4.{dead.pid}.tmp",
        ".m.bin-x",
    ):
        Path(name).write_text("")
    Path(f".m.bin-4.state.{dead.pid}.old").mkdir()
    save(Checkpoints("m.bin"), 2, trained)
    assert names() == sorted([f".m.bin-4.{os.getppid()}.tmp", ".m.bin-x", "m.bin-2", "m.bin-2.state"])


def test_the_fingerprint_follows_the_content():
    assert (
        fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 2, "b": [2]})
    )
