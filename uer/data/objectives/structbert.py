"""StructBERT: hidden tokens, tri-grams out of order, and which text comes first (Wang et al. 2020)."""

from __future__ import annotations

import numpy as np

from uer.data.batch import IGNORE, Batch
from uer.data.masking import choose_units, run_begins
from uer.data.objectives.base import Arrays
from uer.data.objectives.bert import Bert, Chunks, Documents, Pairs

SIZE = 3  # of what is shuffled


class StructBert(Bert):
    """Pairs of three kinds, a third each: the second text follows the first (0), comes before it (1), or is
    from another document (2; always where the chunk is one sentence).

    Masks and orders are drawn when a batch is made.
    """

    name = "structbert"
    static = False
    random_odds = 1 / 3

    def round(
        self, documents: Documents, chunks: Chunks, rng: np.random.Generator
    ) -> tuple[Pairs, np.ndarray]:
        """See `PairObjective.round`."""
        pairs, following = super().round(documents, chunks, rng)
        random = pairs.label == 1
        swapped = ~random & (rng.random(len(random)) < 0.5)
        return pairs.swapped(swapped)._replace(label=swapped + 2 * random), following

    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """inputs src, seg [B, L]; labels "mlm", "mlm_order" [B, L], "sp" [B]."""
        batch = super().batch(store, ids, rng)
        src, hidden = batch.inputs["src"], batch.labels["mlm"] != IGNORE
        free = ~hidden & ~np.isin(src, self.tokens.special) & (batch.inputs["seg"] > 0)
        src, order = shuffled(src, free, self.masking.trigram_rate, rng)
        labels = {"mlm": batch.labels["mlm"], "mlm_order": order, "sp": batch.labels["sp"]}
        return Batch.counted({**batch.inputs, "src": src}, labels, ids)


def shuffled(
    src: np.ndarray, free: np.ndarray, rate: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The rows with the tokens of some tri-grams in any order, and what stood there before.

    Runs of free tokens are cut into tri-grams from a random place on; of the n of a row max(1, round(rate·n))
    are taken.

    Args:
        src: [B, L]. free: bool [B, L], the tokens that tri-grams may hold.
        rate: share of the tri-grams.

    Returns:
        int64 [B, L] each; -100 outside the tri-grams that were taken.
    """
    labels, out = np.full(src.shape, IGNORE), src.copy()
    begins = trigrams(free, rng)
    inside = begins.copy()
    for step in range(1, SIZE):
        inside[:, step:] |= begins[:, :-step]
    count = begins.sum(axis=1)
    wanted = np.where(count > 0, np.maximum(1, np.rint(rate * count)), 0).astype(np.int64)
    chosen, _ = choose_units(inside, begins, SIZE * wanted, rng)
    places = np.flatnonzero(chosen).reshape(-1, SIZE)
    tokens = src.reshape(-1)[places]
    labels.reshape(-1)[places] = tokens
    order = np.argsort(rng.random(places.shape), axis=1)
    out.reshape(-1)[places] = np.take_along_axis(tokens, order, axis=1)
    return out, labels


def trigrams(free: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the whole tri-grams of free tokens begin, side by side from a random phase on: bool [B, L]."""
    rows, width = free.shape
    first = np.where(run_begins(free), np.arange(width), 0)
    within = np.arange(width) - np.maximum.accumulate(first, axis=1)  # place in the run, where free
    begins = free & ((within + rng.integers(0, SIZE, (rows, 1))) % SIZE == 0)
    for step in range(1, SIZE):
        begins[:, width - step :] = False
        begins[:, : width - step] &= free[:, step:]
    return begins
