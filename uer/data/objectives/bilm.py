"""Two language models, one a direction (ELMo, Peters et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.objectives.base import Arrays, Objective, Part
from uer.data.overflow import limit_texts
from uer.data.ragged import cut, gather, starts_of
from uer.data.store import Column


class Bilm(Objective):
    """Blocks of `seq_length` tokens without special ones; the token behind a block is `[SEP]`, that ahead
    `[CLS]`."""

    name = "bilm"
    corpus = "lines"

    def columns(self) -> dict[str, Column]:
        """See `Objective.columns`."""
        return self.run_columns()

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        part = limit_texts(part, self.options.seq_length, self.options.on_overflow, split_here=False)
        start, length = cut(starts_of(part.lengths), part.lengths, self.options.seq_length)
        return {"start": start, "length": length, "tokens": part.ids}

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L]; labels "bilm_forward" and "bilm_backward" [B, L]: the tokens on either
        side."""
        length = store["length"][ids].astype(np.int64)
        src = gather(store["tokens"], store["start"][ids], length, self.tokens.pad)
        real = np.arange(src.shape[1]) < length[:, None]
        forward, backward = np.full(src.shape, IGNORE), np.full(src.shape, IGNORE)
        forward[:, :-1] = src[:, 1:]
        forward[np.arange(len(ids)), length - 1] = self.tokens.sep
        backward[:, 1:] = src[:, :-1]
        backward[:, 0] = self.tokens.cls
        labels = {
            "bilm_forward": np.where(real, forward, IGNORE),
            "bilm_backward": np.where(real, backward, IGNORE),
        }
        return Batch.counted({"src": src, "seg": real.astype(np.int64)}, labels, ids)
