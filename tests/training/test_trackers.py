"""TensorBoard reads our events; the services get the figures, through stand-ins of their packages."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.training.test_report import report
from uer.config.training import TrainOptions
from uer.errors import EnvironmentFault
from uer.training.report import pretraining_line
from uer.training.runlog import RunLog
from uer.training.trackers import open_trackers, plain_figures

FOLDER = Path("m.bin.run")


class StandIn(ModuleType):
    """A package that notes how it is called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple] = []

    def init(self, **settings):
        self.calls.append(("init", settings))

    def log(self, figures, step):
        self.calls.append(("log", step, figures))

    def finish(self):
        self.calls.append(("finish",))


def events() -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's own reader finds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(FOLDER / "tensorboard"))
    reader.Reload()
    return {
        name: [(event.step, event.value) for event in reader.Scalars(name)]
        for name in reader.Tags()["scalars"]
    }


def run(options: TrainOptions, *steps: int, start: int = 0) -> None:
    trackers = open_trackers(options, FOLDER, {"seed": 7}, start=start)
    log = RunLog(pretraining_line, total=10, folder=FOLDER, start=start, trackers=trackers)
    for step in steps:
        log.report(report(step=step))
    log.record({"step": steps[-1], "eval_loss": 2.5})
    log.close()


def test_tensorboard_draws_the_figures_and_forgets_what_was_lost():
    run(TrainOptions(tensorboard=True), 2, 4, 6)
    found = events()
    assert [step for step, _ in found["loss"]] == [2, 4, 6] and found["eval_loss"] == [(6, 2.5)]
    assert found["loss"][0][1] == pytest.approx(10.09, abs=1e-4)
    assert {"learning_rate", "gradient_norm", "tokens_per_second"} <= found.keys() and "time" not in found
    run(TrainOptions(tensorboard=True), 6, 8, start=4)
    assert [step for step, _ in events()["loss"]] == [2, 4, 6, 8]


@pytest.mark.parametrize("package", ["wandb", "swanlab"])
def test_services_get_the_run_its_options_and_its_figures(package, monkeypatch):
    module = StandIn(package)
    monkeypatch.setitem(sys.modules, package, module)
    run(TrainOptions(**{package: "reviews"}), 2, 4)
    settings = module.calls[0][1]
    assert settings["project"] == "reviews" and settings["config"] == {"seed": 7}
    assert "m.bin" in (settings.get("name"), settings.get("experiment_name"))
    logged = [call for call in module.calls if call[0] == "log"]
    assert [call[1] for call in logged] == [2, 4, 4] and logged[0][2]["loss"] == pytest.approx(10.09)
    assert logged[-1][2] == {"eval_loss": 2.5} and module.calls[-1] == ("finish",)


@pytest.mark.parametrize("package", ["wandb", "swanlab"])
def test_a_resumed_run_goes_on_under_its_name_and_a_new_one_gets_another(package, monkeypatch):
    module = StandIn(package)
    monkeypatch.setitem(sys.modules, package, module)
    for start in (0, 2, 0):
        run(TrainOptions(**{package: "reviews"}), 4, start=start)
    first, resumed, new = (call[1] for call in module.calls if call[0] == "init")
    assert first["id"] == resumed["id"] != new["id"] and first["id"].isalnum()
    assert {settings["resume"] for settings in (first, resumed, new)} == {"allow"}


@pytest.mark.parametrize("package", ["wandb", "swanlab"])
def test_a_service_that_does_not_take_the_run_is_one_line(package, monkeypatch):
    module = StandIn(package)
    monkeypatch.setitem(sys.modules, package, module)
    monkeypatch.setattr(module, "init", lambda **_: {}["No API key configured."])
    with pytest.raises(EnvironmentFault) as caught:
        open_trackers(TrainOptions(**{package: "x"}), FOLDER, {})
    said = str(caught.value)
    assert said.startswith(f"--{package}: the service does not take the run (") and "No API key" in said
    assert f"log in with '{package} login', or leave the flag out" in said
    assert not list(FOLDER.glob("*.id"))


@pytest.mark.parametrize("package", ["wandb", "swanlab"])
def test_a_package_that_is_missing_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        EnvironmentFault, match=rf"'{package}' is needed here .* pip install 'uer\[{package}\]'"
    ):
        open_trackers(TrainOptions(**{package: "x"}), FOLDER, {})


def test_none_unless_asked_and_only_in_the_first_worker():
    assert open_trackers(TrainOptions(), FOLDER, {}) == []
    assert open_trackers(TrainOptions(tensorboard=True), FOLDER, {}, first=False) == []
    assert open_trackers(TrainOptions(tensorboard=True), None, {}) == []


def test_only_numbers_are_figures():
    record = {"step": 3, "time": 1.0, "loss": 2, "loss_sp": None, "name": "x"}
    assert plain_figures(record) == {"loss": 2.0}
