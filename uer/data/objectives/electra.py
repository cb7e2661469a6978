"""ELECTRA and ERNIE-Health: hidden tokens, in whose place the model's generator will put others (Clark et al.
2020; Wang et al. 2021).
"""

from __future__ import annotations

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.objectives.base import Arrays
from uer.data.objectives.mlm import Mlm


class Electra(Mlm):
    """Instances as those of `mlm`; the masks are drawn when a batch is made.

    Of a hundred tokens to predict 85 are hidden and 15 stay, as in the released ELECTRA.
    """

    name = "electra"
    static = False
    lots = (0.85, 0.85)

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs and labels of `Mlm.batch`; every real token is a prediction of rtd."""
        batch = super().batch(store, ids, rng)
        batch.counts["rtd"] = int(np.count_nonzero(batch.inputs["seg"]))
        return batch


class ErnieHealth(Mlm):
    """Each instance twice, with masks of its own each time, drawn when a batch is made."""

    name = "ernie_health"
    static = False

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, 2, L]; labels "mlm" [B, 2, L]."""
        rows = self.rows(store, ids)
        src, labels = (
            np.stack(both, axis=1)
            for both in zip(self.masked(store, ids, rows, rng), self.masked(store, ids, rows, rng))
        )
        seg = np.repeat(rows.seg()[:, None], 2, axis=1)
        hidden = int(np.count_nonzero(labels != IGNORE))
        # The wrong tokens that mts is asked about are some of the hidden ones.
        counts = {"mlm": hidden, "rtd": int(np.count_nonzero(seg)), "mts": hidden, "csp": 2 * len(ids)}
        return Batch({"src": src, "seg": seg}, {"mlm": labels}, counts, ids)
