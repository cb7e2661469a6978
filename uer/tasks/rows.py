"""From texts to rows of ids: many at once, in flat arrays, and from there to padded batches.

Shapes: n rows, N ids of all rows together, B rows of a batch, L length of its longest row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uer.errors import DataError
from uer.utils.logging import logger

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ragged = tuple["NDArray", "NDArray"]
"""values [N] and offsets [n + 1]: row i has `values[offsets[i]:offsets[i + 1]]`"""


@dataclass
class Examples:
    """Encoded rows.

    Attributes:
        ids: int32 [N]. seg: int8 [N], 1 first text, 2 second. offsets: int64 [n + 1].
        long: bool [n], rows that were cut because they were longer than they may be.
        labels: name → one entry a row, [n, …]; empty when the rows are to be predicted.
        tokens: name → one entry an id, [N], where the task has some.
    """

    ids: NDArray
    seg: NDArray
    offsets: NDArray
    long: NDArray
    labels: dict[str, NDArray] = field(default_factory=dict)
    tokens: dict[str, NDArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray:
        """int64 [n], ids of each row."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray) -> Examples:
        """Some of the rows, in the order in which they are named."""
        lengths = self.lengths[rows]
        places = places_of(self.offsets[:-1][rows], lengths)
        return Examples(
            self.ids[places],
            self.seg[places],
            np.concatenate([[0], lengths.cumsum()]),
            self.long[rows],
            {name: values[rows] for name, values in self.labels.items()},
            {name: values[places] for name, values in self.tokens.items()},
        )

    def cut(self, limit: int) -> Examples:
        """The first `limit` ids of each row."""
        lengths = self.lengths
        kept = np.minimum(lengths, limit)
        places = places_of(self.offsets[:-1], kept)
        return Examples(
            self.ids[places],
            self.seg[places],
            np.concatenate([[0], kept.cumsum()]),
            self.long | (lengths > limit),
            self.labels,
            {name: values[places] for name, values in self.tokens.items()},
        )

    def grid(self, values: NDArray, rows: NDArray, fill: int) -> NDArray:
        """What lies on the ids [N] of some rows as int64 [B, L], `fill` behind them; L is the longest row."""
        lengths = self.lengths[rows]
        real = np.arange(int(lengths.max(initial=1))) < lengths[:, None]
        out = np.full(real.shape, fill, np.int64)
        out[real] = values[places_of(self.offsets[:-1][rows], lengths)]
        return out

    def padded(self, rows: NDArray, pad_id: int) -> dict[str, NDArray]:
        """The inputs `src` and `seg`, int64 [B, L], of some rows."""
        return {"src": self.grid(self.ids, rows, pad_id), "seg": self.grid(self.seg, rows, 0)}


def places_of(starts: NDArray, lengths: NDArray) -> NDArray:
    """The numbers start … start + length - 1 of each row, one row after another."""
    ends = lengths.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def join(pieces: Sequence[tuple[int | Ragged, int]], limit: int) -> Examples:
    """Lay pieces one behind the other in every row and cut each row at `limit` ids.

    Args:
        pieces: (content, segment) in order; a content is one id, the same in all rows, or a text a row.
            At least one is a text.
    """
    n = next(len(content[1]) - 1 for content, _ in pieces if not isinstance(content, int))
    full = [np.ones(n, np.int64) if isinstance(c, int) else np.diff(c[1]) for c, _ in pieces]
    starts = np.cumsum([np.zeros(n, np.int64), *full], axis=0)
    kept = [np.clip(limit - start, 0, length) for start, length in zip(starts, full)]
    offsets = np.concatenate([[0], np.sum(kept, axis=0).cumsum()]).astype(np.int64)
    ids, seg = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int8)
    for (content, segment), start, length in zip(pieces, starts, kept):
        places = places_of(offsets[:-1] + start, length)
        ids[places] = content if isinstance(content, int) else content[0][places_of(content[1][:-1], length)]
        seg[places] = segment
    return Examples(ids, seg, offsets, starts[-1] > limit)


def encode_texts(
    tokenizer, rows: Sequence[Mapping[str, str]], *, seq_length: int, single_text_sep: bool = True
) -> Examples:
    """`[CLS] a [SEP]` or, where the rows have a `text_b`, `[CLS] a [SEP] b [SEP]`, cut on the right.

    The tokenizer of a Hugging Face folder puts around texts what it does there (`Tokenizer.frame`).

    Args:
        tokenizer: see `uer.tokenizers.base.Tokenizer`.
        rows: with `text_a`, and all or none with `text_b`.
        single_text_sep: False leaves out the `[SEP]` of a single text, as UER-py 2021 did in classification.
    """
    frame = tokenizer.frame
    first = tokenizer.encode_batch([row["text_a"] for row in rows])
    pieces: list[tuple[int | Ragged, int]] = [*((number, 1) for number in frame.before), (first, 1)]
    if rows and "text_b" in rows[0]:
        second = tokenizer.encode_batch([row["text_b"] for row in rows])
        pieces += [*((number, 1) for number in frame.between), (second, 2)]
        pieces += [(number, 2) for number in frame.after]
    elif single_text_sep:
        pieces += [(number, 1) for number in frame.after]
    return join(pieces, seq_length)


def settle_overflow(
    examples: Examples, path: str | Path, lines: Sequence[int], *, seq_length: int, how: str
) -> Examples:
    """Rows that were too long stay cut ("truncate"), are left out ("drop") or are an "error"; a line says so.

    Args:
        lines: the line of each row in the file.

    Raises:
        DataError: with "error"; or no row is left.
    """
    count = int(examples.long.sum())
    if not count:
        return examples
    if how == "error":
        raise DataError(
            f"the row is longer than --seq_length {seq_length} tokens ({count} of {len(examples)} rows are); "
            "raise it, or choose --overflow truncate or drop.",
            path=path,
            line=lines[int(examples.long.argmax())],
        )
    what = "were left out" if how == "drop" else "were cut on the right"
    long = f"{count} of {len(examples)} rows are longer than --seq_length {seq_length} tokens"
    logger.warning(f"{path}: {long}; they {what}.")
    if how == "truncate":
        return examples
    if count == len(examples):
        raise DataError("every row is too long, so none is left; raise --seq_length.", path=path)
    return examples.take(np.flatnonzero(~examples.long))
