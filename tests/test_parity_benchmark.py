"""benchmarks/parity.py: it says what is right, and fails on what is wrong."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from uer.utils.files import repository_root

GOLDEN = repository_root() / "tests" / "golden"


@pytest.fixture
def main(load_script):
    return load_script("benchmarks/parity.py").main


def copied(folder, era, *cases):
    folder.mkdir(exist_ok=True)
    for case in cases:
        for suffix in (".json", ".safetensors"):
            shutil.copyfile(GOLDEN / era / f"{case}{suffix}", folder / f"{case}{suffix}")
    return folder


def test_right_numbers(main, tmp_path, capsys):
    folders = [
        copied(tmp_path / "a", "uer-2021", "bert"),
        copied(tmp_path / "b", "uer-tasks", "prompt", "encoder_bigru"),
    ]
    assert main(["--golden", *map(str, folders)]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == ["bert", "encoder_bigru", "prompt"]
    assert out.count("ok") == 3


def test_a_wrong_number_is_a_miss(main, tmp_path, capsys):
    folder = copied(tmp_path / "a", "uer-2024", "bert")
    tensors = load_file(folder / "bert.safetensors")
    tensors["out.encoder"] += 1e-3
    save_file(tensors, folder / "bert.safetensors")
    assert main(["--golden", str(folder)]) == 1
    assert "MISS in encoder" in capsys.readouterr().out


def test_what_is_no_model_is_said(main, tmp_path, capsys):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "sched.json").write_text(json.dumps({"tensors": {}}))
    assert main(["--golden", str(folder)]) == 0
    assert "no model: an optimiser, a schedule" in capsys.readouterr().out


def test_something_must_be_named(main):
    with pytest.raises(SystemExit):
        main([])


def test_heads_and_metrics_of_tasks(main, tmp_path, capsys, shared):
    cases, folder = ("c3", "chid", "cmrc", "metric_cmrc", "metric_dbqa"), tmp_path / "a"
    folder.mkdir()
    for case in cases:
        for suffix in (".json", ".safetensors"):
            shutil.copyfile(shared / "golden" / "uer-tasks" / f"{case}{suffix}", folder / f"{case}{suffix}")
    assert main(["--golden", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.count("ok") == 5
    for case, name in (("c3", "out.loss"), ("cmrc", "out.end_logits"), ("metric_cmrc", "out.f1")):
        tensors = load_file(folder / f"{case}.safetensors")
        tensors[name] += 1e-3
        save_file(tensors, folder / f"{case}.safetensors")
    assert main(["--golden", str(folder)]) == 1
    assert capsys.readouterr().out.count("MISS") == 3
