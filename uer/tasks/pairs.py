"""What the tasks have in common that read two texts apart: `[CLS] a [SEP]` and `[CLS] b [SEP]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uer.data.batch import Batch
from uer.errors import DataError
from uer.tasks.overflow import remembered, settle_rows
from uer.tasks.rows import Examples, encode_texts
from uer.tasks.table import Table
from uer.tasks.windows import aligned
from uer.utils.files import atomic_write


@dataclass
class Pairs:
    """Rows of two texts; what `uer.tasks.rows.Examples` offers for one.

    Attributes:
        texts: the first texts and the second ones; the same object where both are the same.
        labels: name → one entry a row, [n, …]; empty when the rows are to be predicted.
        of: where these rows are pairs of windows: the row of each.
    """

    texts: tuple[Examples, Examples]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    of: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts[0])

    @property
    def rows_num(self) -> int:
        """Number of rows, however many windows they are read in."""
        return len(self) if self.of is None else int(self.of[-1]) + 1

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n], ids of the longer text of each row."""
        return np.maximum(self.texts[0].lengths, self.texts[1].lengths)

    @property
    def long(self) -> np.ndarray:
        """bool [n], rows with a text that was cut."""
        return self.texts[0].long | self.texts[1].long

    def take(self, rows: np.ndarray) -> Pairs:
        """Some of the rows, in the order in which they are named."""
        first = self.texts[0].take(rows)
        second = first if self.texts[1] is self.texts[0] else self.texts[1].take(rows)
        labels = {name: values[rows] for name, values in self.labels.items()}
        return Pairs((first, second), labels, None if self.of is None else self.of[rows])

    def label(self, labels: dict[str, np.ndarray]) -> None:
        """Give the rows labels, [rows, …]; a pair of windows has those of its row."""
        for name, values in labels.items():
            self.labels[name] = values if self.of is None else values[self.of]


def paired(first: Examples, second: Examples) -> Pairs:
    """Rows of two texts, pairs of their windows where they are read in windows."""
    if first.of is None and second.of is None:
        return Pairs((first, second))
    counts = [np.ones(len(x), np.int64) if x.of is None else np.bincount(x.of) for x in (first, second)]
    of, (ours, theirs) = aligned(counts)
    return Pairs((first.take(ours), second.take(theirs)), of=of)


class PairTask:
    """Rows with `text_a` and `text_b`, as ids and as batches.

    Args:
        tokenizer: cuts the texts.
        seq_length: each text is cut at so many ids.
        overflow: what happens to longer rows: in training see `uer.tasks.overflow.settle_overflow`; elsewhere
            they are cut too, or read in windows.
    """

    name: str

    def __init__(self, tokenizer: Any, *, seq_length: int, overflow: str = "truncate") -> None:
        self.tokenizer, self.seq_length, self.overflow = tokenizer, seq_length, overflow

    def texts(self, texts: Sequence[str]) -> Examples:
        """Texts by themselves."""
        window = self.overflow == "window"
        rows = [{"text_a": x} for x in texts]
        return encode_texts(self.tokenizer, rows, seq_length=self.seq_length, window=window)

    def encode(self, rows: Sequence[Mapping[str, str]]) -> Pairs:
        """Rows with `text_a` and `text_b`; without a `text_b` the second text is the first."""
        first = self.texts([row["text_a"] for row in rows])
        if not (rows and "text_b" in rows[0]):
            return Pairs((first, first), of=first.of)
        return paired(first, self.texts([row["text_b"] for row in rows]))

    def labelled(self, table: Table, labels: dict[str, np.ndarray], training: bool) -> Pairs:
        """The rows of a table with their labels, what is too long dealt with."""
        pairs = self.encode(table.rows)
        pairs.label(labels)
        return settle_rows(pairs, table, self.overflow, training, seq_length=self.seq_length)

    def collate(self, pairs: Pairs, rows: np.ndarray) -> Batch:
        """A batch of some of the rows: `src_0`, `seg_0`, `src_1`, `seg_1`."""
        inputs = {
            f"{name}_{number}": x
            for number, text in enumerate(pairs.texts)
            for name, x in text.padded(rows, self.tokenizer.pad_id).items()
        }
        labels = {name: values[rows] for name, values in pairs.labels.items()}
        return Batch(inputs=inputs, labels=labels, counts={"cls": len(rows)}, ids=rows)

    def saved(self, labels: Any = None, **further: Any) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        extra = {"task": self.name, "seq_length": self.seq_length, **remembered(self.overflow)}
        return {"labels": labels, "extra": {**extra, **further}}


def cosines(vectors: np.ndarray) -> list[str]:
    """The cosine of each pair of vectors [n, 2, H], as text."""
    u, v = vectors[:, 0].astype(np.float64), vectors[:, 1].astype(np.float64)
    lengths = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    return [str(round(value, 6)) for value in ((u * v).sum(axis=1) / np.maximum(lengths, 1e-12)).tolist()]


def write_vectors(path: str | Path, vectors: Sequence[np.ndarray]) -> None:
    """Vectors of all rows, float32 [n, …], as an npy file; chunks of them are joined.

    Raises:
        DataError: the name does not end in .npy.
    """
    check_npy(path)
    with atomic_write(path, "wb") as file:
        np.save(file, np.concatenate(list(vectors)), allow_pickle=False)


def check_npy(path: str | Path | None) -> None:
    """Raise `DataError` when a name is given that does not end in .npy."""
    if path is not None and not str(path).endswith(".npy"):
        raise DataError(
            "vectors are written as a NumPy file; end the name of --vectors_path in .npy.", path=path
        )
