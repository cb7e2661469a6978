"""What all tests share: where real data lies, which skips are allowed, no traces of one test in another."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

# Before anything imports torch or a tokenizer: the suite is sized for two cores.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # on several GPUs fine-tuning would start processes

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# Beginning of a skip's reason → why it may be skipped. A skip with another reason fails the run.
DECLARED_SKIPS = {
    "real data absent: ": "the corpora and data sets are not ours to ship",
    "no GPU: ": "the toolkit is developed on machines without one",
    "browser absent: ": "an extra, and a program that packages of Python do not bring",
    "TensorFlow absent: ": "an extra that only the conversion of its checkpoints needs",
}


SLOW_LIMIT = 3600  # seconds: minutes of work, on a machine that others use too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests have a limit of their own, wide enough for a busy machine."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT))


def undeclared(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """The reason of a skip (or an expected failure) that is not in the table, or None."""
    if not report.skipped:
        return None
    if hasattr(report, "wasxfail"):
        reason = f"xfail: {report.wasxfail}"
    else:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
    return None if reason.startswith(tuple(DECLARED_SKIPS)) else reason


def _fail_when_undeclared(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = undeclared(report)
    if reason is not None:
        report.outcome = "failed"
        report.longrepr = f"undeclared skip: '{reason}'; mend it, or declare it in {Path(__file__).name}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A test skipped for a reason that is not declared has failed."""
    report = yield
    _fail_when_undeclared(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a whole file."""
    report = yield
    _fail_when_undeclared(report)
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden numbers; UER_TEST_DATA in the environment names another one."""
    folder = Path(os.environ.get("UER_TEST_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real data absent: {folder} (name its folder in UER_TEST_DATA)")
    return folder


@pytest.fixture
def load_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """`load_script("finetune/run_classifier.py").main(argv)`: a script as a module."""
    from tests import loading

    def load(name: str) -> ModuleType:
        monkeypatch.setitem(sys.modules, loading.title(name), None)  # taken out again behind the test
        return loading.load_script(name)

    return load


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test stands in an empty folder, and finds the program's logger and `sys.path` as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    logger = logging.getLogger("uer")
    level = logger.level
    # A fixture that outlives one test may have set the log up.
    logger.handlers[:], logger.propagate = [], True
    yield
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(level)
