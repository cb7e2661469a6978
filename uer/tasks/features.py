"""One vector a text, of as many texts as there are, in constant memory; whitened on request.

Shapes: n texts, H hidden size, k kept components.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uer.config.model import ModelConfig
from uer.config.tools import FeatureOptions
from uer.data.readers import read_lines
from uer.errors import ConfigError, DataError
from uer.layers.pooling import pool
from uer.models.model import Inputs, Model
from uer.tasks.body import pooled
from uer.tasks.predict import in_order
from uer.tasks.table import chunks
from uer.tasks.text import TextTask
from uer.training.precision import Precision
from uer.utils.files import atomic_write, write_fault
from uer.utils.lazy import optional

TEXTS_AT_A_TIME = 4096  # texts that are sorted by length together, and rows copied at once


class FeatureModel(Model):
    """A body whose `predict` gives one vector a text, [B, H].

    Args:
        body: embedding and encoder.
        pooling: first, last, mean or max.
        last_layers: the mean of so many of the last layers is pooled.

    Raises:
        ConfigError: the encoder has not so many layers.
    """

    def __init__(self, body: Model, *, pooling: str, last_layers: int = 1) -> None:
        super().__init__(body.config, embedding=body.embedding, encoder=body.encoder)
        depth = body.config.layers_num
        if last_layers > depth:
            raise ConfigError(f"--last_layers is {last_layers}, but the model has {depth} layers.")
        self.pooling, self.last_layers = pooling, last_layers

    def predict(self, inputs: Inputs) -> Tensor:
        """[B, H] from `src` and `seg` [B, L]."""
        if self.last_layers == 1:
            return pooled(self, self.pooling, inputs)
        layers = self.encode(inputs, all_layers=True).layers
        return pool(self.pooling, torch.stack(layers[-self.last_layers :]).mean(dim=0), inputs["seg"])


def text_form(options: FeatureOptions, config: ModelConfig) -> tuple[bool, int | None]:
    """Whether a [SEP] ends each text, and which stream of a dual model reads it.

    Raises:
        ConfigError: a stream of a model that is not dual.
    """
    dual = config.encoder == "dual"
    if not dual and options.dual_stream is not None:
        raise ConfigError(
            f"--dual_stream {options.dual_stream} names a stream of a dual model, and this one has "
            f"--encoder {config.encoder}; leave it out."
        )
    separated = dual if options.single_text_sep is None else options.single_text_sep
    return separated, (options.dual_stream or 0) if dual else None


def text_vectors(
    model: FeatureModel, task: TextTask, path: str, *, batch_size: int, precision: Precision
) -> Iterator[NDArray]:
    """float32 [m, H] again and again: the vectors of the texts of a file, one a line, in their order.

    Raises:
        DataError: the file cannot be read, or holds no text.
    """
    empty = True
    for lines in chunks((line for _, line in read_lines(path) if line.strip()), TEXTS_AT_A_TIME):
        empty = False
        examples = task.encode([{"text_a": line} for line in lines])
        yield in_order(model, task, examples, batch_size=batch_size, precision=precision)
    if empty:
        raise DataError("holds no text; write one a line.", path=path)


class Moments:
    """Mean and covariance of vectors that stream by (Chan et al. 1983), in fp64."""

    def __init__(self, size: int) -> None:
        self.count, self.mean = 0, np.zeros(size)
        self._squares = np.zeros((size, size))

    def update(self, vectors: NDArray) -> None:
        """Add vectors [m, H]."""
        vectors = vectors.astype(np.float64)
        count, mean = len(vectors), vectors.mean(axis=0)
        total, apart = self.count + count, mean - self.mean
        centred = vectors - mean
        self._squares += centred.T @ centred + np.outer(apart, apart) * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total

    def whitening(self, size: int) -> NDArray:
        """fp64 [H, k]: the first k columns of U·diag(1/√s), where U·diag(s)·Uᵀ is the covariance.

        Source: Su et al. 2021, https://arxiv.org/abs/2103.15316.

        Raises:
            ConfigError: the vectors span fewer than k dimensions.
        """
        axes, spread, _ = np.linalg.svd(self._squares / max(self.count - 1, 1))
        # Behind the last real one stand rounding errors of fp64 sums.
        rank = int((spread > 16 * spread[0] * len(spread) * np.finfo(np.float64).eps).sum())
        if size > rank:
            raise ConfigError(
                f"--whitening_size is {size}, but the vectors of {self.count} texts span {rank} dimensions; "
                "lower it or give more texts."
            )
        return axes[:, :size] / np.sqrt(spread[:size])


class Rows:
    """Vectors on disk: appended once, read again in chunks."""

    def __init__(self, folder: str, name: str) -> None:
        self.path, self.shape = Path(folder) / name, (0, 0)

    def fill(self, parts: Iterator[NDArray]) -> Rows:
        """Write all parts [m, H]."""
        with open(self.path, "wb") as file:
            for part in parts:
                file.write(np.ascontiguousarray(part, np.float32).tobytes())
                self.shape = (self.shape[0] + len(part), part.shape[1])
        return self

    def whole(self) -> NDArray:
        """float32 [n, H], a memory map."""
        return np.memmap(self.path, np.float32, "c", shape=self.shape)

    def parts(self) -> Iterator[NDArray]:
        """Chunks of rows in their order."""
        with open(self.path, "rb") as file:
            while part := file.read(TEXTS_AT_A_TIME * self.shape[1] * 4):
                yield np.frombuffer(part, np.float32).reshape(-1, self.shape[1])


def whitened(rows: Rows, folder: str, size: int) -> Rows:
    """The vectors centred, whitened to k numbers each, and of length 1."""
    moments = Moments(rows.shape[1])
    for part in rows.parts():
        moments.update(part)
    kernel = moments.whitening(size)

    def parts() -> Iterator[NDArray]:
        """The rows part by part, whitened."""
        for part in rows.parts():
            out = (part - moments.mean) @ kernel
            yield out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), np.finfo(np.float64).tiny)

    return Rows(folder, "whitened").fill(parts())


def write_vectors(
    vectors: Iterator[NDArray], path: str, form: str, whitening_size: int | None = None
) -> tuple[int, int]:
    """Write vectors to a file that appears whole or not at all; memory does not grow with their number.

    Args:
        form: "npy", "parquet" (one column `feature` of fixed-size lists) or "pt" (torch.save, as UER-py).

    Returns:
        number and size of the vectors.

    Raises:
        EnvironmentFault: the disk is full, or pyarrow is missing.
    """
    write = {"npy": _write_npy, "parquet": _write_parquet, "pt": _write_pt}[form]
    if form == "parquet":
        optional("pyarrow", "parquet")
    target = Path(path).absolute().parent
    with contextlib.ExitStack() as stack:
        try:
            target.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=target, prefix=".features."))
        except OSError as error:
            raise write_fault(path, error) from error
        rows = Rows(folder, "rows").fill(vectors)
        if whitening_size is not None:
            rows = whitened(rows, folder, whitening_size)
        with atomic_write(path, "wb") as file:
            write(file, rows)
        return rows.shape


def _write_npy(file: IO, rows: Rows) -> None:
    header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for part in rows.parts():
        file.write(part.tobytes())


def _write_pt(file: IO, rows: Rows) -> None:
    torch.save(torch.from_numpy(rows.whole()), file)


def _write_parquet(file: IO, rows: Rows) -> None:
    import pyarrow
    import pyarrow.parquet

    kind = pyarrow.list_(pyarrow.float32(), rows.shape[1])
    schema = pyarrow.schema([("feature", kind)])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for part in rows.parts():
            column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(part.reshape(-1)), rows.shape[1])
            writer.write_table(pyarrow.Table.from_arrays([column.cast(kind)], schema=schema))
