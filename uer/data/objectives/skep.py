"""SKEP: hidden sentiment words, their polarity, and pairs of aspect and opinion (Tian et al. 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.objectives.base import Arrays
from uer.data.objectives.mlm import Mlm
from uer.data.ragged import ragged_arange
from uer.data.sentiment import IN_WORD, POSITIVE, SentimentMasker, tokens_of_pairs, whole_pairs
from uer.errors import ConfigError


class Skep(Mlm):
    """Instances as `mlm`. Pairs of which every token is hidden are asked for at the first token of the row,
    and their tokens nowhere else; all other hidden tokens are asked for where they stood. Hidden tokens of
    sentiment words, those in pairs too, say their polarity.

    Raises:
        ConfigError: a masking flag asks for another unit.
    """

    name = "skep"

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        if self.masking.units:
            raise ConfigError(
                f"--{self.masking.units[0]} has no meaning for --data_processor skep, which hides sentiment "
                "words and pairs; leave it out."
            )
        self.masker = SentimentMasker(
            self.masking,
            mask_id=self.tokens.mask,
            special_ids=self.tokens.special,
            vocab_size=self.tokens.vocab_size,
        )

    @property
    def beside(self) -> str:
        """See `MaskedObjective.beside`."""
        return "sentiment"

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L]; labels "mlm", "polarity" [B, L] (1: positive), "pair" [B, P, K]: the ids of
        the tokens of each pair of a row."""
        rows = self.rows(store, ids)
        src, labels = self.masked(store, ids, rows, rng)
        marks = rows.beside(store[self.beside])
        hidden = labels != IGNORE
        polarity = np.where(hidden & ((marks & IN_WORD) != 0), (marks & POSITIVE) != 0, IGNORE)
        places, sizes = self._hidden_pairs(marks, hidden)
        pair = _table(labels.reshape(-1)[places], sizes, places // src.shape[1], len(src))
        labels.reshape(-1)[places] = IGNORE
        batch = Batch.counted(
            {"src": src, "seg": rows.seg()}, {"mlm": labels, "polarity": polarity, "pair": pair}, ids
        )
        batch.counts["pair"] = len(sizes)
        return batch

    def _hidden_pairs(self, marks: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The places of the tokens of pairs that are hidden wholly, and how many tokens each pair has."""
        begins, last = whole_pairs(marks)
        places, sizes = tokens_of_pairs(marks, begins, last)
        number = np.repeat(np.arange(len(begins)), sizes)
        seen = np.bincount(number, weights=~hidden.reshape(-1)[places], minlength=len(begins))
        return places[seen[number] == 0], sizes[seen == 0]


def _table(ids: np.ndarray, sizes: np.ndarray, row: np.ndarray, rows: int) -> np.ndarray:
    """Ids of pairs, pair after pair → int64 [B, most pairs of a row, most tokens of a pair].

    Args:
        row: of each id.
    """
    number = np.repeat(np.arange(len(sizes)), sizes)
    row_of_pair = row[np.cumsum(sizes) - sizes] if len(sizes) else np.zeros(0, np.int64)
    counts = np.bincount(row_of_pair, minlength=rows)
    rank = ragged_arange(counts)
    table = np.full((rows, int(counts.max(initial=0)), int(sizes.max(initial=0))), IGNORE)
    table[row, rank[number], ragged_arange(sizes)] = ids
    return table
