"""T5: runs of tokens are taken out of the source and asked for in the target (Raffel et al. 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.masking import run_begins
from uer.data.objectives.base import Arrays, TokenIds
from uer.data.objectives.mlm import Mlm
from uer.data.objectives.seq2seq import shift
from uer.data.ragged import squeeze
from uer.errors import DataError


class T5(Mlm):
    """Instances as `mlm`. In the source each run of chosen tokens becomes a sentinel; the target is
    `[CLS] sentinel0 run0 sentinel1 run1 … sentinelN [SEP]`.

    Raises:
        DataError: the vocabulary has fewer than two sentinels.
    """

    name = "t5"

    def __init__(self, options: Any, tokens: TokenIds, *more: Any, **named: Any) -> None:
        super().__init__(options, tokens, *more, **named)
        if len(tokens.sentinels) < 2:
            raise DataError(
                "--data_processor t5 needs sentinel tokens (<extra_id_0>, <extra_id_1> …) and the vocabulary "
                f"has {len(tokens.sentinels)} of them; use one that has, as "
                "models/google_zh_with_sentinel_vocab.txt."
            )

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L], tgt_in, tgt_seg [B, T]; labels "lm" [B, T]."""
        rows = self.rows(store, ids)
        src, labels = self.masked(store, ids, rows, rng)
        chosen = labels != IGNORE
        original = np.where(chosen, labels, src)
        source, length, target, tgt_length = self.corrupt(original, rows.lengths, chosen)
        seg = (np.arange(source.shape[1]) < length[:, None]).astype(np.int64)
        inputs, tgt_labels = shift(target, tgt_length, self.tokens.pad)
        return Batch.counted({"src": source, "seg": seg, **inputs}, {"lm": tgt_labels}, ids)

    def corrupt(
        self, tokens: np.ndarray, lengths: np.ndarray, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows [B, L] and the chosen tokens → source and its lengths, target and its lengths.

        There is one sentinel fewer for runs than the vocabulary has, since the last one closes the target;
        runs beyond that stay in the source.
        """
        begins = run_begins(chosen)
        number = np.cumsum(begins, axis=1)  # from 1, of the run at or before each place
        fits = number < len(self.tokens.sentinels)
        chosen, begins = chosen & fits, begins & fits
        sentinels = np.array(self.tokens.sentinels)
        real = np.arange(tokens.shape[1]) < lengths[:, None]
        kept = real & (~chosen | begins)
        source = squeeze(
            np.where(begins, sentinels[np.where(begins, number - 1, 0)], tokens), kept, self.tokens.pad
        )

        runs, hidden = begins.sum(axis=1), chosen.sum(axis=1)
        tgt_length = 3 + runs + hidden
        target = np.full((len(tokens), int(tgt_length.max(initial=0))), self.tokens.pad)
        every = np.arange(len(tokens))
        target[:, 0] = self.tokens.cls
        ahead = np.cumsum(chosen, axis=1) - chosen  # chosen tokens ahead of each place
        row, column = np.nonzero(begins)
        target[row, ahead[row, column] + number[row, column]] = sentinels[number[row, column] - 1]
        row, column = np.nonzero(chosen)
        target[row, 1 + ahead[row, column] + number[row, column]] = tokens[row, column]
        target[every, tgt_length - 2] = sentinels[runs]
        target[every, tgt_length - 1] = self.tokens.sep
        return source, kept.sum(axis=1), target, tgt_length
