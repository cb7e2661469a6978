"""Files of tensors, whatever their names mean: safetensors, torch.save archives, sharded folders.

What a file is decides its content, not its suffix. Nothing read here can run code: safetensors holds numbers
only, and torch archives go through `weights_only=True`, which builds tensors and plain containers and refuses
the rest.
"""

from __future__ import annotations

import glob
import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from uer.checkpoints.names import WEIGHTS
from uer.errors import CheckpointError

State = dict[str, Tensor]

TORCH_SUFFIXES = (".bin", ".pt", ".pth")
# First bytes of files that people take for weights.
FOREIGN = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the weights themselves; fetch them with: git lfs pull",
    ),
    (b"\x89HDF", "a Keras/TensorFlow file (HDF5); convert it to safetensors or PyTorch first"),
    (b"<!DOCTYPE", "a web page, so the download went wrong; fetch the file again"),
    (b"<html", "a web page, so the download went wrong; fetch the file again"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
)
EXPECTED = "expected a safetensors file or a state dict written by torch.save"


def is_torch_name(path: str | Path) -> bool:
    """Whether a file of this name is written by torch.save; `NAME-STEP` keeps NAME's format."""
    return Path(re.sub(r"-\d+$", "", Path(path).name)).suffix in TORCH_SUFFIXES


def check_exists(path: str | Path, flag: str) -> None:
    """Raise where there is neither a file nor a folder.

    Raises:
        CheckpointError: what a person named with `flag` is not there.
    """
    path = Path(path)
    if not path.exists():
        beside = [found.name for found in path.parent.glob(f"{glob.escape(path.name)}-*")]
        steps = sorted(int(name.rsplit("-", 1)[1]) for name in beside if re.search(r"-\d+$", name))
        newest = f" {path}-{steps[-1]} is there: pre-training adds the step to the name." if steps else ""
        raise CheckpointError(
            f"{path} does not exist; name a model file or folder that does with {flag}.{newest}"
        )


def read_state(path: str | Path, flag: str = "--pretrained_model_path") -> State:
    """All tensors of a file, a sharded index or a folder of Hugging Face layout, by name, on the CPU.

    Files are memory-mapped where their format allows; a tensor is read from disk when it is used. Names are
    those of the file.

    Raises:
        CheckpointError: nothing there, damaged, foreign, or holding anything but tensors; no code of it is
            run.
    """
    path = Path(path)
    if path.is_dir():
        path = _file_of_folder(path)
    check_exists(path, flag)
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    return _read_file(path)


def _file_of_folder(folder: Path) -> Path:
    """The weights (or the index of their shards) in a folder."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
    raise CheckpointError(
        f"{folder} is a folder without weights: expected one of {', '.join(WEIGHTS)}; found {found}."
    )


def _read_shards(index: Path) -> State:
    """The tensors of a sharded model; the index says which file holds which."""
    try:
        table = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(table.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index} is damaged: expected JSON with a 'weight_map' of tensor names to files ({error})."
        ) from error
    state: State = {}
    for name in files:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(
                f"{index} names the shard {name!r}; expected a file name of the same folder."
            )
        shard = index.with_name(name)
        if not shard.is_file():
            raise CheckpointError(
                f"{shard} does not exist, but {index.name} names it ({len(files)} shards in all); "
                "copy or download the missing shard."
            )
        state.update(_read_file(shard))
    missing = [name for name in table if name not in state]
    if missing:
        raise CheckpointError(f"{index} promises {missing[0]}, but {table[missing[0]]} does not hold it.")
    return state


def _read_file(path: Path) -> State:
    """One file, by its first bytes."""
    with open(path, "rb") as file:
        head = file.read(32)
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes); {EXPECTED}.")
    for magic, meaning in FOREIGN:
        if head.startswith(magic):
            raise CheckpointError(f"{path} is {meaning}.")
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(path)
    if head[:1] == b"\x80":  # the opcode that starts every pickle: torch.save before PyTorch 1.6
        return _read_torch(path, mmap=False)
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return _read_safetensors(path)
    raise CheckpointError(f"{path} is no model file (it starts with {head[:12]!r}); {EXPECTED}.")


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is truncated or no safetensors file ({_first_line(error)}); copy or download it again."
        ) from error


def _read_zip(path: Path) -> State:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path} is truncated or damaged ({_first_line(error)}); copy or download it again, "
            "or use an earlier checkpoint."
        ) from error
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(f"{path} is a zip archive, but not of torch.save; {EXPECTED}.")
    return _read_torch(path, mmap=True)


def _read_torch(path: Path, mmap: bool) -> State:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (OSError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # hostile bytes can raise anything in an unpickler; all of it means the same to the user
        raise CheckpointError(_torch_fault(path, error)) from error
    return _only_tensors(path, content)


def _torch_fault(path: Path, error: Exception) -> str:
    """Damaged, or holding objects that only code can build?"""
    text = str(error)
    name = re.search(r"GLOBAL (\S+)|Unsupported (?:class|type) (\S+)", text)
    if name or "Unsupported" in text:
        what = next((group for group in name.groups() if group), "") if name else ""
        return (
            f"{path} holds pickled Python objects{f' ({what})' if what else ''} besides tensors; they are "
            "refused and none of it was run; expected a plain state dict: torch.save(model.state_dict(), …)."
        )
    return f"{path} is truncated, damaged or no model file ({_first_line(error)}); {EXPECTED}."


def _only_tensors(path: Path, content: Any) -> State:
    """The content of a torch archive, if it is a state dict."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; {EXPECTED}.")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            keys = ", ".join(str(key) for key in list(content)[:5])
            raise CheckpointError(
                f"{path} is no plain state dict: '{name}' is a {type(value).__name__} (entries: {keys}); "
                "save the state dict of the model alone."
            )
    return {str(name): value.detach() for name, value in content.items()}


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:160]


class _Sink:
    """Passes bytes on and keeps the `OSError` that torch.save would hide behind one of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.fault = file, None

    def write(self, data: bytes) -> int:
        """Pass bytes on; the number of them."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.fault = error
            raise

    def flush(self) -> None:
        """Have the file write what it holds."""
        self.file.flush()


def write_tensors(state: Mapping[str, Tensor], file: IO[bytes], *, torch_format: bool) -> None:
    """Write a state into an open file (opened under its real path).

    Tensors under several names: torch archives store them once and show them under each name; safetensors
    cannot, so each name gets its own copy, which every reader understands.

    Raises:
        OSError: the disk is full, …
    """
    plain = _plain(state)
    if torch_format:
        sink = _Sink(file)
        try:
            torch.save(plain, sink)
        except RuntimeError:
            if sink.fault is not None:
                raise sink.fault from None
            raise
        return
    seen: set[int] = set()
    for name, tensor in plain.items():
        pointer = tensor.untyped_storage().data_ptr()
        plain[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    try:
        save_file(plain, file.name, metadata={"format": "pt"})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number.group(1)) if number else 0, str(error)) from error


def _plain(state: Mapping[str, Tensor]) -> State:
    """Detached, contiguous, on the CPU, without unseen storage; names of one tensor keep sharing it."""
    done: dict[tuple, Tensor] = {}
    out: State = {}
    for name, tensor in state.items():
        tensor = tensor.detach()
        key = (tensor.device, tensor.dtype, tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if key not in done or tensor.numel() == 0:
            own = tensor.to("cpu").contiguous()
            whole = own.untyped_storage().nbytes() == own.numel() * own.element_size()
            done[key] = own if whole else own.clone()
        out[name] = done[key]
    return out
