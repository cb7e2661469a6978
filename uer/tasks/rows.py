"""From texts to rows of ids: many at once, in flat arrays, and from there to padded batches.

Shapes: n rows, N ids of all rows together, B rows of a batch, L length of its longest row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from uer.errors import ConfigError
from uer.tasks.windows import aligned, windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from uer.tokenizers.base import Tokenizer

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
        of: int64 [n], ascending, where these rows are windows of longer ones: the row of each; None: they are
            whole.
    """

    ids: NDArray
    seg: NDArray
    offsets: NDArray
    long: NDArray
    labels: dict[str, NDArray] = field(default_factory=dict)
    tokens: dict[str, NDArray] = field(default_factory=dict)
    of: NDArray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def rows_num(self) -> int:
        """Number of rows, however many windows they are read in."""
        return len(self) if self.of is None else int(self.of[-1]) + 1

    def label(self, labels: Mapping[str, NDArray]) -> None:
        """Give the rows labels, [rows, …]; a window has those of its row."""
        for name, values in labels.items():
            self.labels[name] = values if self.of is None else values[self.of]

    def labels_of_rows(self, name: str) -> NDArray:
        """The labels of this name, one a row, however many windows it is read in."""
        values = self.labels[name]
        return values if self.of is None else values[np.unique(self.of, return_index=True)[1]]

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
            None if self.of is None else self.of[rows],
        )

    def take_whole(self, rows: NDArray) -> Examples:
        """Some of the rows, named in ascending order, with all their windows."""
        if self.of is None:
            return self.take(rows)
        number = np.full(self.rows_num, -1)
        number[rows] = np.arange(len(rows))
        taken = self.take(np.flatnonzero(number[self.of] >= 0))
        taken.of = number[taken.of]
        return taken

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
            self.of,
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


def picked(texts: Ragged, which: NDArray, start: NDArray | int = 0, stop: NDArray | None = None) -> Ragged:
    """Texts by their numbers, as often as they are named, each from `start` to `stop` (default: whole)."""
    values, offsets = texts
    stop = np.diff(offsets)[which] if stop is None else stop
    lengths = stop - start
    return values[places_of(offsets[:-1][which] + start, lengths)], np.concatenate([[0], lengths.cumsum()])


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


def in_windows(texts: Sequence[Ragged], room: int) -> tuple[NDArray | None, list[Ragged]]:
    """The texts of rows, one or two each, as the texts of windows in which `room` ids have place.

    Of two texts the shorter one stands whole in all windows of the longer one; where it would fill more than
    half of the room it is read in windows itself.

    Returns:
        the row of each window (None: all rows fit), and the texts of the windows.

    Raises:
        ConfigError: there is no room.
    """
    if room < len(texts):
        raise ConfigError("--seq_length leaves no room for texts in a window; raise it.")
    lengths = [np.diff(offsets) for _, offsets in texts]
    if (sum(lengths) <= room).all():
        return None, list(texts)
    sizes = [np.full(len(lengths[0]), room)]
    if len(texts) > 1:
        kept, first = np.minimum(np.minimum(*lengths), room // 2), lengths[0] >= lengths[1]
        both = room - kept, np.maximum(kept, 1)  # of the longer text, of the shorter one
        sizes = [np.where(first, *both), np.where(first, *both[::-1])]
    cuts = [windows(length, size) for length, size in zip(lengths, sizes)]
    of, places = aligned([np.bincount(cut.row) for cut in cuts])
    found = [picked(t, of, cut.start[place], cut.stop[place]) for t, cut, place in zip(texts, cuts, places)]
    return of, found


def encode_texts(
    tokenizer: Tokenizer,
    rows: Sequence[Mapping[str, str]],
    *,
    seq_length: int,
    single_text_sep: bool = True,
    window: bool = False,
) -> Examples:
    """`[CLS] a [SEP]` or, where the rows have a `text_b`, `[CLS] a [SEP] b [SEP]`, cut on the right.

    The tokenizer of a Hugging Face folder puts around texts what it does there (`Tokenizer.frame`).

    Args:
        tokenizer: see `uer.tokenizers.base.Tokenizer`.
        rows: with `text_a`, and all or none with `text_b`.
        single_text_sep: False leaves out the `[SEP]` of a single text, as UER-py 2021 did in classification.
        window: what is longer is read in windows (`in_windows`) and not cut.
    """
    frame, paired = tokenizer.frame, bool(rows) and "text_b" in rows[0]
    texts = [tokenizer.encode_batch([row["text_a"] for row in rows])]
    if paired:
        texts.append(tokenizer.encode_batch([row["text_b"] for row in rows]))
    before, between = frame.before, frame.between if paired else ()
    after = frame.after if paired or single_text_sep else ()
    of = None
    if window:
        of, texts = in_windows(texts, seq_length - len(before) - len(between) - len(after))
    pieces: list[tuple[int | Ragged, int]] = [*((number, 1) for number in before), (texts[0], 1)]
    pieces += [(number, 1) for number in between]
    pieces += [(text, 2) for text in texts[1:]]
    pieces += [(number, 1 + paired) for number in after]
    examples = join(pieces, seq_length)
    examples.of = of
    return examples
