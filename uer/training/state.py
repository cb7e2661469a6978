"""Checkpoints of a run: weights `NAME-STEP` and, beside them, `NAME-STEP.state/` with what it needs to go on.

The folder holds `optimizer.safetensors`, `training.json` (step, counters, options, what was chosen) and
`manifest.json` (checksums of these and of the weights). It appears whole, after the weights; a checkpoint
counts only when its manifest holds. No pickle.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uer.checkpoints.companion import companion_folder, remove_checkpoint
from uer.checkpoints.io import read_state, write_tensors
from uer.config.training import NEWEST
from uer.errors import CheckpointError, EnvironmentFault
from uer.training.ema import WeightAverage
from uer.training.engines.base import Engine, Tensors
from uer.training.sameness import changes
from uer.training.saving import Snapshot, chosen_here
from uer.utils.files import atomic_folder, remove_folder, sha256
from uer.utils.logging import logger

FORMAT = 1
OPTIMIZER, TRAINING, MANIFEST = "optimizer.safetensors", "training.json", "manifest.json"


def state_folder(path: str | Path) -> Path:
    """Where the training state of the checkpoint at `path` lies."""
    return Path(f"{path}.state")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        path: the weights.
        training: the content of `training.json`: `step`, `progress` (what `fit` counts), `options`,
            `dataset`, `precision`, `threads`, `kernels`, `written`.
    """

    path: Path
    training: dict[str, Any]

    @property
    def step(self) -> int:
        """Batches done."""
        return self.training["step"]

    def load_optimizer(self, engine: Engine) -> None:
        """Fill the optimiser of an engine that was built for the model of this checkpoint."""
        file = state_folder(self.path) / OPTIMIZER
        engine.load_optimizer_state(read_state(file, "--resume"), str(file))

    def load_average(self, average: WeightAverage) -> None:
        """Fill a running mean that was made for the model of this checkpoint."""
        average.load(read_state(averaged_path(self.path), "--resume"))

    def compare(self, options: Mapping[str, Any], dataset: str) -> list[str]:
        """What has changed since, one line a change that may be.

        Raises:
            CheckpointError: it belongs to a run on other data, or of another kind.
        """
        return changes(self.path, self.training, options, dataset)


def averaged_path(path: str | Path) -> Path:
    """Where the running mean of the weights of a checkpoint lies: `NAME.ema-STEP`, the suffix kept."""
    path = Path(path)
    name, step = path.name.rsplit("-", 1)
    return path.with_name(f"{Path(name).stem}.ema{Path(name).suffix}-{step}")


def write_checkpoint(
    path: Path,
    *,
    write_weights: Callable[[Path, Tensors], None],
    snapshot: Snapshot,
    training: Mapping[str, Any],
) -> None:
    """Write weights (and their running mean), then the state folder that makes the checkpoint count.

    Raises:
        EnvironmentFault: the disk is full, or the folder cannot be written to.
    """
    write_weights(path, snapshot.weights)
    try:
        _write_beside(path, write_weights, snapshot, training)
    except EnvironmentFault:
        if not state_folder(path).exists():  # weights alone are no checkpoint, and stand in the way of others
            for file in (path, averaged_path(path)):
                remove_checkpoint(file)
        raise


def _write_beside(
    path: Path,
    write_weights: Callable[[Path, Tensors], None],
    snapshot: Snapshot,
    training: Mapping[str, Any],
) -> None:
    """What `write_checkpoint` writes after the weights, in its order."""
    weights = [path]
    if snapshot.average is not None:
        weights.append(averaged_path(path))
        write_weights(weights[1], snapshot.average)
    with atomic_folder(state_folder(path)) as folder:
        with open(folder / OPTIMIZER, "wb") as file:
            write_tensors(snapshot.optimizer, file, torch_format=False)
        _write_json(folder / TRAINING, {**training, "written": time.time()})
        beside = [file for weight in weights for file in sorted(companion_folder(weight).rglob("*"))]
        manifest = {
            "format": FORMAT,
            "weights": {file.name: sha256(file) for file in weights},
            "companions": {
                str(file.relative_to(path.parent)): sha256(file) for file in beside if file.is_file()
            },
            "files": {name: sha256(folder / name) for name in (OPTIMIZER, TRAINING)},
        }
        _write_json(folder / MANIFEST, manifest)


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint whose weights lie at `path`.

    Raises:
        CheckpointError: a part is missing, truncated or damaged, or a newer version wrote it.
    """
    path, folder = Path(path), state_folder(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; name a checkpoint NAME-STEP with --resume.")
    if not folder.is_dir():
        raise CheckpointError(
            f"{path} has no training state ({folder.name}/ is missing), so no run can go on from it; "
            f"type --pretrained_model_path {path} to start a new run from its weights."
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] > FORMAT:
            raise CheckpointError(
                f"{folder} has format {manifest['format']}, this version reads up to {FORMAT}; update it."
            )
        expected = {path.with_name(name): digest for name, digest in manifest["weights"].items()}
        expected.update({path.parent / name: x for name, x in manifest.get("companions", {}).items()})
        expected.update({folder / name: digest for name, digest in manifest["files"].items()})
        for file, digest in expected.items():
            if sha256(file) != digest:
                raise CheckpointError(f"{file} is truncated or damaged (its checksum differs).")
        return Checkpoint(path, json.loads((folder / TRAINING).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{folder} is damaged ({error}).") from error


def fingerprint(header: Mapping[str, Any]) -> str:
    """A short name for the content of a dataset: its header holds the checksums of all arrays."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:16]


def _use_threads(count: int) -> None:
    """Compute with as many threads as the run did before."""
    now = torch.get_num_threads()
    if count != now:
        logger.info(
            "The run so far used %d threads, not %d: it goes on with %d, for equal sums.", count, now, count
        )
        torch.set_num_threads(count)


class Checkpoints:
    """The checkpoints `NAME-STEP` of one run.

    Args:
        name: NAME, `--output_model_path`.
        limit: how many are kept, `--save_total_limit`, besides the best one; None: all.
    """

    def __init__(self, name: str | Path, limit: int | None = None) -> None:
        self.name, self.limit = Path(name), limit
        self._stale: list[Path] = []

    def path(self, step: int) -> Path:
        """Where the weights after `step` batches go."""
        return self.name.with_name(f"{self.name.name}-{step}")

    def existing(self) -> list[Path]:
        """Weights with a training state, the ones written last first."""
        pattern = re.compile(f"({re.escape(self.name.name)}-([0-9]+))[.]state")
        found = []
        for folder in self.name.parent.glob(f"{_literal(self.name.name)}-*.state"):
            match = pattern.fullmatch(folder.name)
            if match and folder.is_dir():
                found.append((_written(folder), int(match.group(2)), folder.with_name(match.group(1))))
        return [path for _, _, path in sorted(found, reverse=True)]

    def find(self, resume: str | None, about: Mapping[str, Any]) -> Checkpoint | None:
        """The checkpoint to go on from; None (said in a line) when a new run is to be started.

        The number of threads is made that of the checkpoint, since sums depend on it.

        Args:
            resume: `--resume`: None, "newest", or weights.
            about: `options` and `dataset` of this run.

        Raises:
            CheckpointError: there are checkpoints but none is whole, the named one is not, or it belongs to
                another run.
        """
        if resume is None:
            self._announce_replacement()
            return None
        found = self._newest() if resume == NEWEST else read_checkpoint(resume)
        if found is None:
            logger.info("No checkpoint of %s is there: the run starts at step 0.", self.name)
            return None
        for note in found.compare(about["options"], about["dataset"]):
            logger.warning("%s", note)
        logger.info("Resuming from %s, after %d steps.", found.path, found.step)
        if found.training["options"].get("world_size") == about["options"].get("world_size"):
            _use_threads(found.training["threads"])
        return found

    def _newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; falling back to an older one is said."""
        faults = []
        for path in self.existing():
            try:
                found = read_checkpoint(path)
            except CheckpointError as error:
                faults.append(str(error))
                continue
            for fault in faults:
                logger.warning("%s Falling back to %s.", fault, path)
            return found
        if faults:
            raise CheckpointError(
                f"{' '.join(faults)} No whole checkpoint of {self.name} is left to resume from."
            )
        return None

    def _announce_replacement(self) -> None:
        self._stale = self.existing()
        if self._stale:
            others = f" and {len(self._stale) - 1} more" if len(self._stale) > 1 else ""
            logger.info(
                "%s%s is there from an earlier run and will be replaced at the first save "
                "(to continue that run, stop now and add --resume).",
                self._stale[0],
                others,
            )

    def check_room(self, model: nn.Module) -> None:
        """Refuse to start a run whose checkpoints the disk cannot hold (two means a trained parameter).

        Raises:
            EnvironmentFault: fewer bytes are free than a checkpoint takes.
        """
        trained = (param for param in model.parameters() if param.requires_grad)
        self._check_bytes(_bytes(model.parameters()) + 2 * _bytes(trained))

    def _check_bytes(self, needed: int) -> None:
        folder = self.name.parent
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise EnvironmentFault(
                f"{self.name}: a checkpoint takes {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free; "
                "free some room, choose another folder, or keep fewer with --save_total_limit."
            )

    def save(
        self,
        step: int,
        *,
        write_weights: Callable[[Path, Tensors], None],
        snapshot: Snapshot,
        training: Mapping[str, Any],
    ) -> Path:
        """Write `NAME-STEP`; the first save of a new run removes what an earlier run left under this name.

        Raises:
            EnvironmentFault: there is no room for it, or the folder cannot be written to.
        """
        path = self.path(step)
        self._check_bytes(snapshot.size)
        training = {**chosen_here(), **training, "step": step}
        write_checkpoint(path, write_weights=write_weights, snapshot=snapshot, training=training)
        kept = [*self.existing()[: self.limit], self.best()]
        for old in (*self._stale, *(other for other in self.existing() if other not in kept)):
            if old != path:
                remove_folder(state_folder(old))
                remove_checkpoint(old)
                remove_checkpoint(averaged_path(old))
        self._stale = []
        self._remove_leftovers()
        return path

    def best(self) -> Path | None:
        """The one that was best on held-out text, when any of them was tried."""
        losses = [(_told(state_folder(path)).get("held_out_loss"), path) for path in self.existing()]
        tried = (pair for pair in losses if pair[0] is not None)
        return min(tried, key=itemgetter(0), default=(None, None))[1]

    def clear(self) -> None:
        """Remove all of them: the run is finished."""
        for path in self.existing():
            remove_folder(state_folder(path))
            remove_checkpoint(path)

    def _remove_leftovers(self) -> None:
        """Temporary files of processes that were killed while writing."""
        written = (f".{_literal(path.name[:-1])}*" for path in (self.path(0), averaged_path(self.path(0))))
        for entry in (entry for pattern in written for entry in self.name.parent.glob(pattern)):
            owner = re.fullmatch(r".*\.(\d+)\.(?:tmp|old)", entry.name)
            if owner and not _alive(int(owner.group(1))):
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


def _literal(name: str) -> str:
    """The name with glob's special characters taken literally."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _told(folder: Path) -> dict[str, Any]:
    """What a state folder says of itself, as far as it can be read."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return dict(json.loads((folder / TRAINING).read_text(encoding="utf-8")))
    return {}


def _written(folder: Path) -> float:
    """When a state folder was written, by its own word, else by the file system's."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return float(_told(folder)["written"])
    return folder.stat().st_mtime


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _alive(process: int) -> bool:
    """Whether another process of this number runs."""
    if process == os.getpid():
        return False  # nothing is being written now: a file of this number is an earlier process's
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # of another user
    return True
