"""ALBERT: predict hidden tokens, and whether two texts are in their order (Lan et al. 2020)."""

from __future__ import annotations

import numpy as np

from uer.data.objectives.bert import Chunks, Documents, PairObjective, Pairs


class Albert(PairObjective):
    """A chunk of sentences cut in two; label 1: the halves are swapped (even odds).

    A chunk of one sentence is cut inside it, a chunk of one token is left out.
    """

    name = "albert"

    def round(
        self, documents: Documents, chunks: Chunks, rng: np.random.Generator
    ) -> tuple[Pairs, np.ndarray]:
        """See `PairObjective.round`."""
        offsets, begin, end = documents.offsets, chunks.begin, chunks.end
        first, last = offsets[begin], offsets[end]
        several = end - begin > 1
        sentence = begin + rng.integers(1, np.maximum(end - begin, 2))
        token = first + rng.integers(1, np.maximum(last - first, 2))
        middle = np.where(several, offsets[np.minimum(sentence, end)], token)
        swapped = rng.random(len(begin)) < 0.5
        pairs = Pairs(first, middle - first, middle, last - middle, swapped.astype(np.int64)).swapped(swapped)
        kept = last - first > 1
        return Pairs(*(field[kept] for field in pairs)), end
