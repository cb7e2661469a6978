"""The frame of the tests: an undeclared skip fails the run, a declared one is printed with its reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CASES = """
import logging
from pathlib import Path
import pytest

def test_declared(shared): pass
@pytest.mark.skip(reason="no GPU: none here")
def test_declared_mark(): pass
def test_undeclared(): pytest.skip("I do not feel like it")
@pytest.mark.skip(reason="flaky")
def test_undeclared_mark(): pass
@pytest.mark.xfail(reason="known fault")
def test_xfail(): assert False
@pytest.mark.slow
def test_slow(): assert False
def test_leaves_traces():
    logging.getLogger("uer").addHandler(logging.NullHandler())
    Path("left").touch()
def test_finds_none():
    assert not logging.getLogger("uer").handlers and not Path("left").exists()
"""


def test_skips_must_be_declared(tmp_path: Path):
    here = Path(__file__).resolve().parent
    (tmp_path / "tests").mkdir()
    shutil.copy(here / "conftest.py", tmp_path / "tests")
    shutil.copy(here.parent / "pytest.ini", tmp_path)
    (tmp_path / "tests" / "test_cases.py").write_text(CASES)
    (tmp_path / "tests" / "test_file.py").write_text(
        "import pytest\npytest.skip('whole file', allow_module_level=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--continue-on-collection-errors", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "UER_TEST_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    out = done.stdout
    assert done.returncode == 1, out
    assert "2 failed, 2 passed, 2 skipped, 1 deselected, 2 errors" in out, out
    for reason in ("I do not feel like it", "flaky", "xfail: known fault", "whole file"):
        assert f"undeclared skip: '{reason}'" in out
    assert f"real data absent: {tmp_path}" in out and "no GPU: none here" in out
