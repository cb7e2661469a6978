"""The folder `PATH.meta/` beside a file of weights: what model it is, its tokenizer, labels, and a checksum.

Both are written together. The new companion first appears whole as `PATH.meta.new/`, then the weights take
their place, then the companion takes its own. A process killed anywhere in between leaves a pair that agrees:
a reader takes whichever of the two companions has the checksum of the weights, and refuses to guess when none
has.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uer import __version__
from uer.checkpoints.folder import open_folder
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.utils.files import atomic_folder, atomic_write, remove_folder, replace_folder, sha256

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
GONE = ("ignore_index",)  # settings that older companions have and that never changed a number
CONFIG, LABELS = "config.json", "labels.json"
TOKENIZER, TGT_TOKENIZER = "tokenizer", "tgt_tokenizer"


@dataclass(frozen=True)
class Companion:
    """What a saved model says about itself.

    Attributes:
        folder: where it was read.
        config: the model.
        labels: the label map as it was given to `write_state` (JSON), or None.
        extra: what the task wrote besides (`seq_length`, `task`, `single_text_sep`, …).
        tokenizer: the folder of the tokenizer's files, or None.
        tgt_tokenizer: likewise of the target side.
    """

    folder: Path
    config: ModelConfig
    labels: Any = None
    extra: dict[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None
    tgt_tokenizer: Path | None = None

    def settings(self) -> dict[str, Any]:
        """The keyword arguments of `write_state` that give a file this companion again."""
        return {
            "config": self.config,
            "labels": self.labels,
            "extra": self.extra,
            "tokenizer": self.tokenizer,
            "tgt_tokenizer": self.tgt_tokenizer,
        }


def companion_folder(path: str | Path) -> Path:
    """Where the companion of the weights at `path` lies."""
    path = Path(path)
    return path.with_name(f"{path.name}.meta")


def _incoming(path: Path) -> Path:
    return path.with_name(f"{path.name}.meta.new")


def write_state(
    path: str | Path,
    state: Mapping[str, Tensor],
    *,
    config: ModelConfig | None = None,
    tokenizer: Any = None,
    tgt_tokenizer: Any = None,
    labels: Any = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Save weights and, when the model is described, their companion; nothing half-written is ever visible.

    Args:
        path: `.bin`, `.pt`, `.pth` (also as `NAME.bin-STEP`) are written by torch.save as a plain state dict,
            which UER-py loads; any other name becomes a safetensors file.
        state: name → tensor, in the names of UER-py 2024; tied tensors under every name.
        config: the model; None writes no companion, and takes away one that lies there from before.
        tokenizer: an object with `save(folder)`, or a folder of tokenizer files to copy; `tgt_tokenizer`
            likewise.
        labels: the label map, any JSON value.
        extra: further settings that inference needs, JSON values.

    Raises:
        EnvironmentFault: the disk is full, or the folder cannot be written to.
    """
    from uer.checkpoints.io import is_torch_name, write_tensors

    path = Path(path)
    with atomic_write(path, "wb") as file:
        write_tensors(state, file, torch_format=is_torch_name(path))
        file.flush()
        os.fsync(file.fileno())
        if config is None:
            for folder in (companion_folder(path), _incoming(path)):
                remove_folder(folder)
        else:
            record = {
                "format": FORMAT,
                "version": __version__,
                "weights": {"file": path.name, "sha256": sha256(file.name)},
                "model": config.to_json(),
                "extra": dict(extra or {}),
            }
            _write_companion(_incoming(path), record, tokenizer, tgt_tokenizer, labels)
    if config is not None:
        replace_folder(_incoming(path), companion_folder(path))


def _write_companion(folder: Path, record: dict, tokenizer: Any, tgt_tokenizer: Any, labels: Any) -> None:
    with atomic_folder(folder) as temporary:
        _write_json(temporary / CONFIG, record)
        if labels is not None:
            _write_json(temporary / LABELS, labels)
        for name, source in ((TOKENIZER, tokenizer), (TGT_TOKENIZER, tgt_tokenizer)):
            if isinstance(source, (str, Path)):
                shutil.copytree(source, temporary / name)
            elif source is not None:
                (temporary / name).mkdir()
                source.save(temporary / name)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_companion(path: str | Path) -> Companion | None:
    """What the model at `path` says about itself; None for a file that came without a companion.

    Args:
        path: a file of weights, or a Hugging Face model: a folder, or `hf:owner/name`.

    Raises:
        CheckpointError: the companion is damaged, or belongs to other weights; an unknown family.
        EnvironmentFault: the hub cannot be reached.
    """
    model = open_folder(path)
    if model is not None:
        return Companion(
            folder=model.path,
            config=model.config(),
            labels=model.labels(),
            extra=model.extra(),
            tokenizer=model.path if model.has_tokenizer() else None,
        )
    path = Path(path)
    folders = [folder for folder in (companion_folder(path), _incoming(path)) if folder.is_dir()]
    if not path.is_file():
        return None
    if not folders:
        return _left_behind(path)
    digest = _checksum(path)
    for folder in folders:
        record = _read_json(folder / CONFIG)
        if record.get("weights", {}).get("sha256") == digest:
            return _companion(folder, record)
    raise CheckpointError(
        f"{folders[0]} describes other weights than {path} now holds (the checksums differ): the file was "
        "replaced or damaged; restore both from the same place, or remove that folder and describe the "
        "model by --config_path."
    )


def _left_behind(path: Path) -> Companion | None:
    """The companion of a checkpoint `PATH-STEP` that was renamed to PATH by itself, as UER-py's users do."""
    names = re.compile(rf"{re.escape(path.name)}-\d+\.meta")
    for folder in sorted(path.parent.glob(f"{glob.escape(path.name)}-*.meta")):
        if names.fullmatch(folder.name) and (folder / CONFIG).is_file():
            record = _read_json(folder / CONFIG)
            if record.get("weights", {}).get("sha256") == _checksum(path):
                return _companion(folder, record)
    return None


def _checksum(path: Path) -> str:
    status = path.stat()
    return _checksum_of(str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=64)
def _checksum_of(path: str, size: int, time: int, inode: int) -> str:
    """SHA-256 of a file; the further arguments make a changed file another entry of the cache."""
    return sha256(path)


def _companion(folder: Path, record: dict[str, Any]) -> Companion:
    source = folder / CONFIG
    if record.get("format", 0) > FORMAT:
        raise CheckpointError(
            f"{source} has format {record['format']} (written by version {record.get('version')}), this is "
            f"version {__version__} and reads up to format {FORMAT}; update the toolkit."
        )
    try:
        values = {name: value for name, value in record["model"].items() if name not in GONE}
        config = ModelConfig.from_json(values, str(source))
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{source} does not describe a model that this version ({__version__}) knows, it was written by "
            f"{record.get('version')}: {error}"
        ) from error
    labels = _read_json(folder / LABELS) if (folder / LABELS).is_file() else None
    tokenizer, tgt_tokenizer = folder / TOKENIZER, folder / TGT_TOKENIZER
    return Companion(
        folder=folder,
        config=config,
        labels=labels,
        extra=dict(record.get("extra", {})),
        tokenizer=tokenizer if tokenizer.is_dir() else None,
        tgt_tokenizer=tgt_tokenizer if tgt_tokenizer.is_dir() else None,
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is missing or damaged ({error}); restore the companion folder, or remove it and "
            "describe the model by --config_path."
        ) from error


def remove_checkpoint(path: str | Path) -> None:
    """Remove weights and their companion, weights first."""
    path = Path(path)
    path.unlink(missing_ok=True)
    for folder in (companion_folder(path), _incoming(path)):
        remove_folder(folder)
