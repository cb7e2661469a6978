"""Freed memory stays with the process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from uer.training import memory

CODE = """
import resource, sys, torch
from uer.training.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE, how], cwd=root, check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.slow
def test_pages_are_not_cleared_anew_for_every_tensor():
    assert faults("kept") < 1000 < 10 * 12_000_000 // resource.getpagesize() <= faults("plain") * 1.1


def test_other_systems_are_left_as_they_are(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_freed_memory()


def test_a_c_library_without_the_call(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()


def test_memory_that_runs_out_names_the_knobs():
    fault = memory.out_of_memory(torch.OutOfMemoryError("CUDA out of memory."), torch.device("cpu"))
    assert "memory ran out (" in str(fault) and "type --batch_size auto" in str(fault)
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert "--gradient_checkpointing" in str(memory.out_of_memory(caught.value, torch.device("cpu")))
    assert memory.out_of_memory(RuntimeError("shapes do not match"), torch.device("cpu")) is None


def test_the_peak_only_rises():
    before = memory.peak_memory(torch.device("cpu"))
    assert before > 5e7
    torch.ones(1 << 22)
    assert memory.peak_memory(torch.device("cpu")) >= before


SCATTERED = """
import torch
from uer.training.memory import FreedMemory, keep_freed_memory, resident_memory

keep_freed_memory()
freed = FreedMemory(after=1, slack=1 << 25)
freed.update()
pairs = [(torch.ones(1 << 18), torch.ones(64)) for _ in range(800)]
kept = [small for _, small in pairs]
del pairs
before = resident_memory()
freed.update()
print(before, resident_memory(), len(kept))
"""


def test_what_lies_between_pieces_in_use_goes_back_when_it_is_too_much():
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", SCATTERED], env=env, capture_output=True, text=True, check=True
    )
    before, after, _ = map(int, done.stdout.split())
    assert before - after > 500e6
