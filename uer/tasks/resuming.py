"""How a fine-tuning run goes on after it was killed, and what it leaves when it is finished."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from uer.checkpoints import write_state
from uer.config.finetune import CrossValidationOptions, RunOptions
from uer.training.loop import Saving
from uer.training.run import Means, Run
from uer.training.runlog import run_folder
from uer.training.saving import Snapshot, Writer, chosen_here
from uer.training.state import Checkpoint, Checkpoints
from uer.utils.files import atomic_write, sha256
from uer.utils.logging import logger

FINISHED = "finished.json"
NOT_READ = ("output_model_path", "pretrained_model_path", "test_path", "train_features_path")


def files_fingerprint(options: RunOptions) -> str:
    """A short name for the content of the files that a run learns from and is evaluated on."""
    named: list[str] = []
    for name in options.names():
        if name.endswith(("_path", "_path_list")) and name not in NOT_READ:
            value = getattr(options, name)
            named += value if isinstance(value, tuple) else [value] if value else []
    files: list[Path] = []
    for path in map(Path, named):
        files += sorted(path.glob("*.tsv")) if path.is_dir() else [path]
    digest = hashlib.sha256("".join(sha256(file) for file in files if file.is_file()).encode())
    return digest.hexdigest()[:16]


class Resuming:
    """The checkpoints `NAME-STEP` of a fine-tuning run. They lie there while it runs; a finished one has the
    best model at NAME and its scores in `NAME.run/finished.json`.

    Args:
        path: NAME.
        means: of the run; the first of its workers writes.

    Attributes:
        folder: where the record of the run goes.
        found: the checkpoint to go on from, or None.
        finished: what `finish` was given by the run of `--resume`, when nothing is left to be trained.

    Raises:
        CheckpointError: there are checkpoints but none is whole, or they are of another run.
        EnvironmentFault: the workers read different files.
    """

    def __init__(self, path: str, options: RunOptions, means: Means) -> None:
        self.options, self.workers = options, means.workers
        self.checkpoints, self.folder = Checkpoints(path, limit=1), run_folder(path)
        told = {**means.settings, "rows": means.training.batch_size, "world_size": self.workers.size}
        self.about = {"options": told, "dataset": files_fingerprint(options)}
        self.workers.agree("the content of the files", self.about["dataset"])
        self.note = self.folder / FINISHED
        self.finished = self._read() if options.resume is not None else None
        self.found = None
        if self.finished is None:
            self.found = self.checkpoints.find(options.resume, self.about)
            if self.found is not None:
                self._check_best()
            if self.workers.is_first:
                self.note.unlink(missing_ok=True)

    def _check_best(self) -> None:
        """Count only what is found from here on where the best model so far does not lie at NAME."""
        name, progress = self.checkpoints.name, self.found.training["progress"]
        ours = self.found.path in self.checkpoints.existing() and name.is_file()
        if ours or not progress["best"]["epoch"] or isinstance(self.options, CrossValidationOptions):
            return
        if self.workers.is_first:
            logger.warning(
                "%s does not hold the best model of that run so far (score %.4f): the best of the "
                "evaluations from here on goes there.",
                name,
                progress["best"]["score"],
            )
        progress["best"] = {}

    def _read(self) -> dict[str, Any] | None:
        """What a finished run of this name left, if it was as long as this one is to be."""
        note = None
        with contextlib.suppress(OSError, json.JSONDecodeError):
            note = json.loads(self.note.read_text(encoding="utf-8"))
        name, told = self.checkpoints.name, self.about["options"]
        if note is None or not name.is_file():
            return None
        Checkpoint(name, note).compare(told, self.about["dataset"])
        if note["options"].get("epochs_num") != told.get("epochs_num"):
            return None
        logger.info("%s is finished; nothing is left to be trained.", name)
        return note["result"]

    def saving(
        self, run: Run, period: int, writer: Writer, more: Callable[[], dict[str, Any]]
    ) -> Saving | None:
        """How often the loop saves, and what it calls then; None: there are no checkpoints.

        Args:
            run: the model, ready to be trained.
            period: batches of an epoch.
            writer: writes while training goes on.
            more: counters of fine-tuning, which lie beside the loop's own.

        Raises:
            EnvironmentFault: the disk has no room for a checkpoint.
        """
        steps = self.options.save_checkpoint_steps
        every = period if steps is None else steps

        def save(step: int, progress: dict[str, Any]) -> None:
            """A checkpoint of this moment, written in the background; every worker must call it."""
            snapshot = Snapshot.take(run.engine)
            counted = {**progress, **more()}
            state = {**self.about, **chosen_here(), **run.chosen(), "progress": counted}
            if self.workers.is_first:
                write = partial(
                    self.checkpoints.save, step, write_weights=write_state, snapshot=snapshot, training=state
                )
                writer.submit(write)

        if not every:
            return None
        self.checkpoints.check_room(run.model)
        return Saving(save, every)

    def finish(self, result: dict[str, Any]) -> None:
        """Leave the result and take the checkpoints away: the best model is at NAME."""
        if not self.workers.is_first:
            return
        with atomic_write(self.note) as file:
            json.dump({**self.about, "result": result}, file, indent=1, default=_plain)
        self.checkpoints.clear()


def _plain(value: Any) -> Any:
    """Dataclasses and NumPy's numbers as JSON has them."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value.item()
