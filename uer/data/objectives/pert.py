"""PERT: tokens change places, and the model says where each now stands (Cui et al. 2022)."""

from __future__ import annotations

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.objectives.base import Arrays
from uer.data.objectives.mlm import Mlm

MOVED = 0.9  # of the units that are asked about; the others stay


class Pert(Mlm):
    """Instances as those of `mlm`. What the masking flags choose changes places within its row, nine of ten
    units; nothing is hidden. It is drawn when a batch is made.
    """

    name = "pert"
    static = False

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L]; labels "pert" [B, L]: where the token that belongs here stands."""
        rows = self.rows(store, ids)
        src, marks = self._unmasked(store, rows)
        chosen, lot = self.masker.choose(src, rows.lengths, rng, marks)
        src, labels = permuted(src, chosen, lot < MOVED, rng)
        return Batch.counted({"src": src, "seg": rows.seg()}, {"pert": labels}, ids)


def permuted(
    src: np.ndarray, chosen: np.ndarray, moves: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The rows with some tokens in another order, and where each of the chosen now stands.

    Args:
        src: [B, L]. chosen: bool [B, L].
        moves: bool [M], which of the chosen tokens take part.

    Returns:
        int64 [B, L] each; -100 where nothing was chosen.
    """
    width = src.shape[1]
    places = np.flatnonzero(chosen)
    labels = np.full(src.shape, IGNORE)
    labels.reshape(-1)[places] = places % width
    moved = places[moves]
    origin = moved[np.lexsort((rng.random(len(moved)), moved // width))]  # shuffled within each row
    labels.reshape(-1)[origin] = moved % width
    out = src.copy()
    out.reshape(-1)[moved] = src.reshape(-1)[origin]
    return out, labels
