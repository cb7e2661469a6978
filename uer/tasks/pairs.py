"""What the tasks have in common that read two texts apart: `[CLS] a [SEP]` and `[CLS] b [SEP]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uer.data.batch import Batch
from uer.errors import DataError
from uer.tasks.rows import Examples, encode_texts, settle_overflow
from uer.tasks.table import Table
from uer.utils.files import atomic_write


@dataclass
class Pairs:
    """Rows of two texts; what `uer.tasks.rows.Examples` offers for one.

    Attributes:
        texts: the first texts and the second ones; the same object where both are the same.
        labels: name → one entry a row, [n, …]; empty when the rows are to be predicted.
    """

    texts: tuple[Examples, Examples]
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts[0])

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
        return Pairs((first, second), {name: values[rows] for name, values in self.labels.items()})


class PairTask:
    """Rows with `text_a` and `text_b`, as ids and as batches.

    Args:
        tokenizer: cuts the texts.
        seq_length: each text is cut at so many ids.
        overflow: what happens to training rows that are longer (`uer.tasks.rows.settle_overflow`).
    """

    name: str

    def __init__(self, tokenizer: Any, *, seq_length: int, overflow: str = "truncate") -> None:
        self.tokenizer, self.seq_length, self.overflow = tokenizer, seq_length, overflow

    def texts(self, texts: Sequence[str]) -> Examples:
        """Texts by themselves."""
        return encode_texts(self.tokenizer, [{"text_a": x} for x in texts], seq_length=self.seq_length)

    def encode(self, rows: Sequence[Mapping[str, str]]) -> Pairs:
        """Rows with `text_a` and `text_b`; without a `text_b` the second text is the first."""
        first = self.texts([row["text_a"] for row in rows])
        paired = rows and "text_b" in rows[0]
        return Pairs((first, self.texts([row["text_b"] for row in rows]) if paired else first))

    def labelled(self, table: Table, labels: dict[str, np.ndarray], training: bool) -> Pairs:
        """The rows of a table with their labels, what is too long dealt with."""
        pairs = self.encode(table.rows)
        pairs.labels.update(labels)
        how = self.overflow if training else "truncate"
        return settle_overflow(pairs, table.path, table.lines, seq_length=self.seq_length, how=how)

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
        return {"labels": labels, "extra": {"task": self.name, "seq_length": self.seq_length, **further}}


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
