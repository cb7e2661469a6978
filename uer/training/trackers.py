"""Programs that draw curves of many runs: TensorBoard, Weights & Biases, SwanLab. None of them is needed.

Each takes the records that the metrics file takes, figure by figure.
"""

from __future__ import annotations

import numbers
from pathlib import Path
from typing import Any, Protocol

from uer.config.training import TrainOptions
from uer.utils.lazy import optional


class Tracker(Protocol):
    """Takes figures by step."""

    def record(self, step: int, figures: dict[str, float]) -> None:
        """Figures after `step` batches."""

    def close(self) -> None:
        """The run is over."""


class TensorBoard:
    """Event files in `FOLDER/tensorboard`, which `tensorboard --logdir` draws.

    A resumed run removes from the curves what lies behind its start.

    Raises:
        EnvironmentFault: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, start: int) -> None:
        optional("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)

    def record(self, step: int, figures: dict[str, float]) -> None:
        """Figures after `step` batches."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class Hosted:
    """A service whose package has `init`, `log` and `finish`: Weights & Biases, SwanLab.

    Args:
        package: its name, which is that of the extra too.
        settings: what `init` takes.

    Raises:
        EnvironmentFault: the package is not installed.
    """

    def __init__(self, package: str, **settings: Any) -> None:
        self.module = optional(package, package)
        self.module.init(**settings)

    def record(self, step: int, figures: dict[str, float]) -> None:
        """Figures after `step` batches."""
        self.module.log(figures, step=step)

    def close(self) -> None:
        """The run is over."""
        self.module.finish()


def open_trackers(
    options: TrainOptions, folder: Path | None, config: dict[str, Any], *, start: int = 0, first: bool = True
) -> list[Tracker]:
    """The trackers that flags ask for; none without a folder, or in workers other than the first."""
    if folder is None or not first:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    name = folder.name.removesuffix(".run")
    trackers: list[Tracker] = []
    if options.tensorboard:
        trackers.append(TensorBoard(folder, start=start))
    if options.wandb is not None:
        place = {"dir": str(folder), "resume": "allow" if start else None}
        trackers.append(Hosted("wandb", project=options.wandb, name=name, config=config, **place))
    if options.swanlab is not None:
        place = {"logdir": str(folder / "swanlab")}
        trackers.append(
            Hosted("swanlab", project=options.swanlab, experiment_name=name, config=config, **place)
        )
    return trackers


def plain_figures(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record, without its step and time."""
    return {
        name: float(value)
        for name, value in record.items()
        if isinstance(value, numbers.Real) and name not in ("step", "time")
    }
