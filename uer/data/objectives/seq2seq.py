"""What objectives with a source and a target share: two runs of tokens, the target shifted by one."""

from __future__ import annotations

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.objectives.base import Arrays, Objective
from uer.data.ragged import gather
from uer.data.store import Column


def shift(target: np.ndarray, length: np.ndarray, pad: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A target as what the decoder sees and what it is to say, by length, so that padding is never predicted.

    Args:
        target: int64 [B, T + 1]. length: [B], tokens of each.

    Returns:
        tgt_in and tgt_seg [B, T], and the labels [B, T].
    """
    real = np.arange(target.shape[1] - 1) < length[:, None] - 1
    inputs = {"tgt_in": np.where(real, target[:, :-1], pad), "tgt_seg": real.astype(np.int64)}
    return inputs, np.where(real, target[:, 1:], IGNORE)


class TwoSequences(Objective):
    """An objective whose instances are a run of source tokens and a run of target tokens."""

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        return {
            **{name: column for name, column in self.run_columns().items() if name != "tokens"},
            "tgt_start": Column("<u8", "tgt_tokens"),
            "tgt_length": Column("<u4"),
            "tokens": Column(self.token_dtype),
            "tgt_tokens": Column(self.target_token_dtype),
        }

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L], tgt_in, tgt_seg [B, T]; labels "lm" [B, T]."""
        length = store["length"][ids].astype(np.int64)
        src = gather(store["tokens"], store["start"][ids], length, self.tokens.pad)
        seg = (np.arange(src.shape[1]) < length[:, None]).astype(np.int64)
        tgt_length = store["tgt_length"][ids].astype(np.int64)
        pad = self.target_tokens.pad
        target = gather(store["tgt_tokens"], store["tgt_start"][ids], tgt_length, pad)
        inputs, labels = shift(target, tgt_length, pad)
        return Batch.counted({"src": src, "seg": seg, **inputs}, {"lm": labels}, ids)
