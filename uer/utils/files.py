"""Files that are either whole or absent: written under a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from uer.errors import DataError, EnvironmentFault, UerError


def repository_root() -> Path:
    """The folder that holds `models/`, `corpora/` and the scripts, wherever the user stands."""
    return Path(__file__).resolve().parents[2]


def temporary_name(path: str | Path) -> Path:
    """A name beside `path`, unique to this process, that a finished file is renamed from."""
    path = Path(path)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_fault(path: str | Path, error: OSError) -> UerError:
    """The one-line error for a failed write to `path`."""
    if error.errno == errno.ENOSPC:
        return EnvironmentFault(
            f"{path}: the disk is full; free some room or choose another folder, then run again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EnvironmentFault(
            f"{path}: the folder may not be written to ({error.strerror}); choose another one."
        )
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST):
        return EnvironmentFault(f"{path}: {error.strerror}; choose another name.")
    return EnvironmentFault(f"{path}: could not be written ({error.strerror or error}).")


def fsync_folder(folder: str | Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "w", *, sync: bool = True, **options: Any) -> Iterator[IO]:
    """Open a temporary file beside `path`; on a clean exit sync it and rename it to `path`, else remove it.

    Text is UTF-8 with `\\n` line ends. Missing parent folders are made. `sync=False` leaves out the syncing:
    the file survives a killed process, not a power cut. A device or a pipe is written to as it is.

    Raises:
        EnvironmentFault: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    temporary = temporary_name(path)
    if "b" not in mode:
        options = {"encoding": "utf-8", "newline": "\n", **options}
    if _is_stream(path):
        try:
            with open(path, mode, **options) as file:
                yield file
        except OSError as error:
            raise write_fault(path, error) from error
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, mode, **options) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if sync:
            fsync_folder(path.parent)
    except BrokenPipeError:  # of whoever reads what is shown besides; a file has none
        raise
    except OSError as error:
        raise write_fault(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _is_stream(path: Path) -> bool:
    """Whether a path is no place for a file: a pipe, a device, or a name of what is open (/dev/stdout)."""
    special = path.exists() and not path.is_file() and not path.is_dir()
    return special or str(path.absolute().parent) in ("/dev", "/dev/fd", "/proc/self/fd")


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path`; on a clean exit its files are synced and it takes that name.

    A folder that stood at `path` is replaced; at no moment is a half-written one visible under that name.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A process killed earlier may have had the same number (in containers it usually does).
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
        fsync_folder(temporary)
        replace_folder(temporary, path)
    except OSError as error:
        raise write_fault(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: str | Path, path: str | Path) -> None:
    """Rename the folder `source` to `path`, in the place of what stood there."""
    path = Path(path)
    rubbish = _set_aside(path)
    os.rename(source, path)
    fsync_folder(path.parent)
    shutil.rmtree(rubbish, ignore_errors=True)


def remove_folder(path: str | Path) -> None:
    """Remove a folder, if it exists; at no moment is a half-removed one visible under its name."""
    shutil.rmtree(_set_aside(Path(path)), ignore_errors=True)


def _set_aside(path: Path) -> Path:
    """Rename a folder, if it exists, to a name that nobody looks at; that name."""
    rubbish = temporary_name(path).with_suffix(".old")
    shutil.rmtree(rubbish, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, rubbish)
    return rubbish


def require_file(path: str | Path, what: str, flag: str) -> Path:
    """`path` as a `Path` when it is a file that exists.

    Raises:
        DataError: there is no such file; the message names the flag that asked for it.
    """
    path = Path(path)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{what} {found}; give a file that exists with {flag}.", path=path)
    return path


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
