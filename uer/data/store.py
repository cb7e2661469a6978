"""The dataset file: one file, a JSON header, flat typed arrays, read through a memory map.

Layout, all numbers little-endian:

    0   8 bytes  `UERDATA\\0`
    8   uint32   format version
    12  uint32   CRC-32 of the header
    16  uint64   length of the header, in bytes
    24  uint64   length of the file, in bytes
    32  header   JSON in UTF-8, padded with blanks so that the first array is aligned
    ..  arrays   one after another, each at a multiple of 64 bytes

An instance is an entry in the arrays that the objective calls its index; such an entry often points into a
longer array (the tokens). Which array an array points into stands in the header (`refers`), so files are
joined by copying.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from uer.data.readers import open_binary
from uer.errors import DataError
from uer.utils.files import atomic_write

MAGIC = b"UERDATA\0"
VERSION = 1
ALIGN = 64
CHUNK = 1 << 20  # elements handled at a time, so that writing needs constant memory
_PREAMBLE = struct.Struct("<8sIIQQ")


class Column(NamedTuple):
    """One array of a dataset file: its type, and the array into which its values point, if they do."""

    dtype: str
    refers: str | None = None


def token_dtype(vocab_size: int) -> str:
    """The smallest type that holds every id of a vocabulary."""
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


def _aligned(position: int) -> int:
    return -(-position // ALIGN) * ALIGN


def _header_bytes(header: Mapping[str, Any]) -> bytes:
    """The header as JSON whose end is aligned; filling in the checksums (of fixed width) moves nothing."""
    text = json.dumps(header, ensure_ascii=False, indent=1).encode()
    return text + b" " * (_aligned(_PREAMBLE.size + len(text)) - _PREAMBLE.size - len(text))


def _plan(
    header: Mapping[str, Any], columns: Mapping[str, Column], counts: Mapping[str, int]
) -> dict[str, Any]:
    """The header with the place of every array relative to the first one, checksums still zero."""
    arrays, position = {}, 0
    for name, column in columns.items():
        position = _aligned(position)
        arrays[name] = {
            "dtype": column.dtype,
            "refers": column.refers,
            "count": counts[name],
            "offset": position,
            "crc32": "00000000",
        }
        position += counts[name] * np.dtype(column.dtype).itemsize
    return {**header, "arrays": arrays, "size": position}


def write_store(
    path: str | Path,
    header: Mapping[str, Any],
    columns: Mapping[str, Column],
    counts: Mapping[str, int],
    chunks: Callable[[str], Iterable[np.ndarray]],
    sync: bool = True,
) -> None:
    """Write a dataset file in constant memory; it appears under `path` when it is whole, not before.

    Args:
        header: everything the header says besides `arrays` and `size`.
        columns: the arrays, in file order.
        counts: number of elements of each array.
        chunks: name of an array → its content in pieces, `counts[name]` elements together.
        sync: wait until it is on the disk.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written to.
    """
    header = _plan(header, columns, counts)
    blank = _header_bytes(header)
    base = _PREAMBLE.size + len(blank)
    with atomic_write(path, "wb", sync=sync) as file:
        file.write(bytes(base))
        for name, column in columns.items():
            entry = header["arrays"][name]
            file.write(bytes(base + entry["offset"] - file.tell()))
            entry["crc32"] = f"{_write_array(file, column.dtype, entry['count'], chunks(name)):08x}"
        text = _header_bytes(header)
        file.seek(0)
        file.write(_PREAMBLE.pack(MAGIC, VERSION, zlib.crc32(text), len(text), base + header["size"]))
        file.write(text)


def _write_array(file: Any, dtype: str, count: int, chunks: Iterable[np.ndarray]) -> int:
    """Write the pieces of one array and return their CRC-32."""
    checksum, written = 0, 0
    for chunk in chunks:
        data = np.ascontiguousarray(chunk, dtype=dtype)
        checksum = zlib.crc32(data, checksum)
        file.write(data)
        written += len(data)
    assert written == count, f"{written} elements written, {count} announced"
    return checksum


def write_arrays(
    path: str | Path,
    header: Mapping[str, Any],
    columns: Mapping[str, Column],
    arrays: Mapping[str, np.ndarray],
    sync: bool = True,
) -> None:
    """Write a dataset file whose arrays are in memory."""
    counts = {name: len(arrays[name]) for name in columns}
    write_store(path, header, columns, counts, lambda name: [arrays[name]], sync)


class Store:
    """A dataset file, memory-mapped: opening reads the header only, and a batch touches only its own
    instances.

    Attributes:
        path: the file.
        header: the header as written; see `uer.data.build` for its keys.

    Raises:
        DataError: missing, empty, truncated, damaged, of a newer version, or not a dataset of ours.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with open_binary(path) as file:
            size = os.fstat(file.fileno()).st_size
            preamble = file.read(_PREAMBLE.size)
            self._recognise(preamble, size)
            _, version, checksum, length, expected = _PREAMBLE.unpack(preamble)
            if version > VERSION:
                raise self._fault(
                    f"the dataset has format {version} and this program reads up to {VERSION}; "
                    "update the program, or run preprocess.py again"
                )
            if size != expected:
                raise self._fault(
                    f"the file has {size:,} bytes of {expected:,}: it was cut off (a broken copy?); "
                    "copy it again or run preprocess.py again"
                )
            text = file.read(length)
            if zlib.crc32(text) != checksum:
                raise self._fault("the header is damaged; copy the file again or run preprocess.py again")
            self.header: dict[str, Any] = json.loads(text)
            self._base = _PREAMBLE.size + length
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._arrays = {name: self._view(entry) for name, entry in self.header["arrays"].items()}

    def _fault(self, message: str) -> DataError:
        return DataError(f"{message}.", path=self.path)

    def _recognise(self, head: bytes, size: int) -> None:
        """Refuse what is not a dataset of ours; a pickle is known by its first bytes and never opened."""
        again = "make a new one with preprocess.py (the same command as before works)"
        if size == 0:
            raise self._fault(f"the file is empty; {again}")
        if head.startswith(MAGIC) and len(head) == _PREAMBLE.size:
            return
        if head[0] == 0x80 and len(head) > 1 and head[1] <= 5:
            raise self._fault(
                f"this is a pickled dataset of UER-py, which is not read because a pickle can run code; "
                f"{again}"
            )
        if head.startswith(b"PK\x03\x04"):
            raise self._fault(f"this is a zip archive or a torch file (a model?), not a dataset; {again}")
        raise self._fault(f"this is not a dataset made by preprocess.py (a corpus?); {again}")

    def _view(self, entry: Mapping[str, Any]) -> np.ndarray:
        return np.frombuffer(self._map, entry["dtype"], entry["count"], self._base + entry["offset"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return dict(self._arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __len__(self) -> int:
        return self.header["instances"]

    @property
    def objective(self) -> str:
        """The name of the data processor that built the instances."""
        return self.header["objective"]

    @property
    def columns(self) -> dict[str, Column]:
        """The arrays of the file, in its order."""
        return {
            name: Column(entry["dtype"], entry["refers"]) for name, entry in self.header["arrays"].items()
        }

    def verify(self) -> None:
        """Read the whole file and compare the checksums.

        Raises:
            DataError: an array is damaged.
        """
        for name, entry in self.header["arrays"].items():
            checksum = 0
            for start in range(0, entry["count"], CHUNK):
                checksum = zlib.crc32(np.ascontiguousarray(self[name][start : start + CHUNK]), checksum)
            if f"{checksum:08x}" != entry["crc32"]:
                raise self._fault(
                    f"the array '{name}' is damaged (checksum {checksum:08x}, written as {entry['crc32']}); "
                    "copy the file again or run preprocess.py again"
                )


def merge_stores(parts: Sequence[str | Path], path: str | Path, header: Mapping[str, Any]) -> None:
    """Join files with the same arrays into one, in the given order, by copying; pointers are shifted.

    Only one part is open at a time, and memory stays constant.
    """
    columns: dict[str, Column] = {}
    bases: list[dict[str, int]] = []  # of each part: how many elements of each array lie before it
    totals: dict[str, int] = {}
    for part in parts:
        store = Store(part)
        columns = columns or store.columns
        bases.append(dict(totals))
        for name in columns:
            totals[name] = totals.get(name, 0) + len(store[name])

    def chunks(name: str) -> Iterable[np.ndarray]:
        """An array of all parts, piece by piece; pointers into another array are moved on."""
        refers = columns[name].refers
        for part, base in zip(parts, bases):
            array, shift = Store(part)[name], base.get(refers, 0) if refers else 0
            for start in range(0, len(array), CHUNK):
                piece = array[start : start + CHUNK]
                yield piece + piece.dtype.type(shift) if shift else piece

    write_store(path, header, columns, totals, chunks)
