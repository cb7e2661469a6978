"""The files of a corpus: what they are by their names, and how they are read.

`.jsonl` (`.json`), `.parquet` and `.tsv` are records with named fields; every other name is plain text.
`.gz` and `.zst` behind the name mean compression. Parquet files are read as if they were JSON lines.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from uer.data.readers import BOM, open_binary
from uer.errors import DataError
from uer.utils.lazy import optional

FORMATS = {".jsonl": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".tsv": "tsv"}
COMPRESSIONS = (".gz", ".zst")
# What the fields of a record may be called. A table whose first line holds nothing else has a header.
FIELDS = ("text", "text_a", "text_b", "label", "source", "target", "spans")


@dataclass(frozen=True)
class Source:
    """One file of a corpus.

    Attributes:
        path: the file.
        size: its bytes on disk.
        format: "txt", "tsv", "jsonl" or "parquet".
        compression: ".gz", ".zst" or "".
        columns: the header of a table that has one.
        group: number of the word of the command line that named it; weights are given to groups.
    """

    path: Path
    size: int
    format: str = "txt"
    compression: str = ""
    columns: tuple[str, ...] | None = None
    group: int = 0

    @classmethod
    def of(cls, path: str | Path, group: int = 0) -> Source:
        """The file, checked.

        Raises:
            DataError: missing, unreadable, a folder, or empty.
        """
        path = Path(path)
        with open_binary(path) as file:
            size = file.seek(0, 2)
        if size == 0:
            raise DataError("the corpus is empty; give a text file with --corpus_path.", path=path)
        suffixes = path.suffixes
        compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
        kind = FORMATS.get(suffixes[-1] if suffixes else "", "txt")
        source = cls(path, size, kind, compression, None, group)
        return source if kind != "tsv" else cls(path, size, kind, compression, source._header(), group)

    @property
    def plain(self) -> bool:
        """Whether lines are text as they stand; else they are records with named fields."""
        return self.columns is None and self.format in ("txt", "tsv")

    @property
    def sliced(self) -> bool:
        """Whether the file can be read from any byte on; others are streams."""
        return not self.compression and self.format != "parquet"

    def _header(self) -> tuple[str, ...] | None:
        """The columns that the first line names, if it names any that we know and no others."""
        with self.open() as (stream, _):
            first = stream.readline(1 << 16).removeprefix(BOM).rstrip(b"\r\n")
        names = tuple(first.decode("utf-8", "replace").split("\t"))
        return names if set(names) <= set(FIELDS) else None

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """The content as a stream of bytes, decompressed, parquet as JSON lines; and the file itself.

        Raises:
            DataError: the compressed data is damaged or cut off.
            EnvironmentFault: a package is needed that is not installed.
        """
        with open_binary(self.path) as raw:
            try:
                yield self._stream(raw), raw
            except Exception as error:
                if not isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)) and (
                    type(error).__name__ not in ("ZstdError", "ArrowInvalid")
                ):
                    raise
                raise DataError(f"the file is damaged or cut off ({error}).", path=self.path) from error

    def _stream(self, raw: BinaryIO) -> BinaryIO:
        if self.format == "parquet":
            return io.BufferedReader(_ParquetLines(raw, self.path), 1 << 20)
        if self.compression == ".gz":
            return gzip.open(raw)
        if self.compression == ".zst":
            decompressor = optional("zstandard", "zstd").ZstdDecompressor()
            return io.BufferedReader(decompressor.stream_reader(raw, read_across_frames=True), 1 << 20)
        return raw


class _ParquetLines(io.RawIOBase):
    """Rows of a parquet file as JSON lines, a few thousand at a time."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        table = optional("pyarrow.parquet", "parquet").ParquetFile(file)
        columns = [name for name in table.schema_arrow.names if name in FIELDS]
        if not columns:
            raise DataError(
                f"the parquet file has none of the columns {', '.join(FIELDS)}, only "
                f"{', '.join(table.schema_arrow.names)}; rename one.",
                path=path,
            )
        self._batches = table.iter_batches(batch_size=1000, columns=columns)
        self._rest = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next."""
        while not self._rest:
            batch = next(self._batches, None)
            if batch is None:
                return 0
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist()]
            self._rest = "".join(lines).encode("utf-8", "surrogatepass")
        taken = min(len(buffer), len(self._rest))
        buffer[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken


def find_sources(paths: Sequence[str]) -> list[Source]:
    """The files that the words of `--corpus_path` name; a word with `*`, `?` or `[` is a pattern.

    Raises:
        DataError: a pattern fits no file; a file is missing, unreadable, or empty.
    """
    sources = []
    for group, word in enumerate(paths):
        files = [word]
        if glob.has_magic(word) and not Path(word).exists():
            files = sorted(file for file in glob.glob(word, recursive=True) if Path(file).is_file())
            if not files:
                raise DataError("no file fits this pattern; check --corpus_path.", path=word)
        sources += [Source.of(file, group) for file in files]
    return sources
