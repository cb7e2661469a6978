"""What the tasks have in common that read one text or one pair a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from uer.data.batch import Batch
from uer.tasks.overflow import remembered, settle_rows
from uer.tasks.rows import Examples, encode_texts
from uer.tasks.table import Table

if TYPE_CHECKING:
    from uer.tokenizers.base import Tokenizer


class TextTask:
    """Rows with `text_a` and perhaps `text_b`, as ids and as batches.

    Args:
        tokenizer: cuts the texts.
        seq_length: rows are cut at so many ids.
        single_text_sep: False: no `[SEP]` behind a single text (UER-py 2021).
        overflow: what happens to longer rows: in training see `uer.tasks.overflow.settle_overflow`; elsewhere
            they are cut too, or read in windows.

    Attributes:
        name: the task, as the companion folder names it.
    """

    name: str

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seq_length: int,
        single_text_sep: bool = True,
        overflow: str = "truncate",
    ) -> None:
        self.tokenizer = tokenizer
        self.seq_length, self.single_text_sep, self.overflow = seq_length, single_text_sep, overflow

    def encode(self, rows: Sequence[Mapping[str, str]]) -> Examples:
        """Rows with `text_a`, and all or none with `text_b`, as ids."""
        return encode_texts(
            self.tokenizer,
            rows,
            seq_length=self.seq_length,
            single_text_sep=self.single_text_sep,
            window=self.overflow == "window",
        )

    def labelled(self, table: Table, labels: dict[str, np.ndarray], training: bool) -> Examples:
        """The rows of a table with their labels [n, …], what is too long dealt with."""
        examples = self.encode(table.rows)
        examples.label(labels)
        return settle_rows(examples, table, self.overflow, training, seq_length=self.seq_length)

    def collate(self, examples: Examples, rows: np.ndarray) -> Batch:
        """A batch of some of the examples, padded to the longest of them."""
        return Batch(
            inputs=examples.padded(rows, self.tokenizer.pad_id),
            labels={name: values[rows] for name, values in examples.labels.items()},
            counts={"cls": len(rows)},
            ids=rows,
        )

    def saved(self, labels: Any = None, **further: Any) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        extra = {"task": self.name, "seq_length": self.seq_length, "single_text_sep": self.single_text_sep}
        return {"labels": labels, "extra": {**extra, **remembered(self.overflow), **further}}
