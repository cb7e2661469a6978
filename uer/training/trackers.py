"""Programs that draw curves of many runs: TensorBoard, Weights & Biases, SwanLab. None of them is needed.

Each takes the records that the metrics file takes, figure by figure.
"""

from __future__ import annotations

import numbers
import uuid
from pathlib import Path
from typing import Any, Protocol

from uer.config.training import TrainOptions
from uer.errors import EnvironmentFault
from uer.utils.files import atomic_write
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

    The name under which the service knows the run lies in its folder, so that a resumed one goes on there.

    Args:
        package: its name, which is that of the extra too, and of the flag.
        folder: of the run.
        start: batches done before; 0: the service is to begin a new run.
        settings: what `init` takes besides.

    Raises:
        EnvironmentFault: the package is not installed, or the service does not take the run.
    """

    def __init__(self, package: str, folder: Path, start: int, **settings: Any) -> None:
        self.module = optional(package, package)
        note = folder / f"{package}.id"
        known = note.read_text(encoding="utf-8").strip() if start and note.is_file() else ""
        name = known or uuid.uuid4().hex[:21]
        try:
            self.module.init(id=name, resume="allow", **settings)
        except Exception as error:  # each package has its own: no login, no network, no such project
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise EnvironmentFault(
                f"--{package}: the service does not take the run ({reason}); log in with '{package} login', "
                "or leave the flag out: metrics.jsonl and report.html have the same figures."
            ) from error
        with atomic_write(note) as out:
            out.write(f"{name}\n")

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
        told = {"project": options.wandb, "name": name, "config": config, "dir": str(folder)}
        trackers.append(Hosted("wandb", folder, start, **told))
    if options.swanlab is not None:
        told = {"project": options.swanlab, "experiment_name": name, "config": config}
        trackers.append(Hosted("swanlab", folder, start, logdir=str(folder / "swanlab"), **told))
    return trackers


def plain_figures(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a record, without its step and time."""
    return {
        name: float(value)
        for name, value in record.items()
        if isinstance(value, numbers.Real) and name not in ("step", "time")
    }
