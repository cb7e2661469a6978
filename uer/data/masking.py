"""Which tokens a masked language model has to predict, and what it sees in their place; a batch at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from uer.config.preprocess import MaskingOptions
from uer.data.batch import IGNORE

# What knowledge says of a token: a basic unit begins with it; a unit when phrases (entities) are whole; it
# lies in a phrase (an entity).
BASIC, PHRASE, IN_PHRASE, ENTITY, IN_ENTITY = 1, 2, 4, 8, 16
UNITS = np.array([BASIC, PHRASE, ENTITY])  # by level
INSIDE = np.array([0, IN_PHRASE, IN_ENTITY])
# Of the lots in [0, 1) those below the first become the mask token, the others below the second a random one.
LOTS = (0.8, 0.9)


class Masker:
    """Hides tokens of padded rows (Devlin et al. 2019; spans: Joshi et al. 2020; whole words: Cui et al.
    2021; phrases and entities: Sun et al. 2019; n-grams and similar words: Cui et al. 2020).

    Of a row with n real tokens, special ones counted, max(1, round(rate·n)) are to be predicted; special
    tokens never are. Eight of ten become the mask token, one a random ordinary token, one stays. The unit
    of choice is a token, a word, or a span; a unit that would exceed what is left of the budget is passed
    over, and the lot of ten is drawn once a unit (random tokens are drawn one by one). With knowledge each
    row draws a level: basic units, or phrases, or entities first and basic units for the rest of its budget.
    N-grams are runs of words (tokens), of random length. With similar words each word of a unit that would be
    hidden becomes one that is like it, or random tokens when none is known.

    Args:
        options: rate and unit.
        mask_id: what hides a token.
        special_ids: ids that are never hidden and never put in a token's place.
        vocab_size: number of ids.
        lots: see `LOTS`.

    Attributes:
        similar: finds similar words (`uer.data.similar.SimilarWords`); set by whoever has a tokenizer.
    """

    similar: Callable[..., tuple[np.ndarray, np.ndarray]] | None = None

    def __init__(
        self,
        options: MaskingOptions,
        *,
        mask_id: int,
        special_ids: tuple[int, ...],
        vocab_size: int,
        lots: tuple[float, float] = LOTS,
    ) -> None:
        self.options, self.mask_id, self.vocab_size, self.lots = options, mask_id, vocab_size, lots
        self._special = np.array(sorted(set(special_ids)), np.int64)
        self._ordinary = np.ones(vocab_size, bool)  # by id
        self._ordinary[self._special] = False
        lengths = np.arange(1, options.span_max_length + 1)
        weights = options.span_geo_prob * (1 - options.span_geo_prob) ** (lengths - 1)
        self._span_cdf = np.cumsum(weights / weights.sum())[:-1]
        shares = np.array(options.ngram_shares or (1.0,))
        self._ngram_cdf = np.cumsum(shares / shares.sum())[:-1]
        self._levels = np.array(options.knowledge_levels) / sum(options.knowledge_levels)

    def __call__(
        self,
        src: np.ndarray,
        lengths: np.ndarray,
        rng: np.random.Generator,
        marks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Hide tokens.

        Args:
            src: int64 [B, L], padded on the right.
            lengths: [B], real tokens of each row.
            marks: [B, L], for whole words: not 0 where a token begins a word; for knowledge the bits above.

        Returns:
            The rows as the model sees them, and the labels [B, L].
        """
        places, hidden = self.draw(src, lengths, rng, marks)
        labels, masked = np.full(src.shape, IGNORE), src.copy()
        labels.reshape(-1)[places] = src.reshape(-1)[places]
        masked.reshape(-1)[places] = hidden
        return masked, labels

    def draw(
        self,
        src: np.ndarray,
        lengths: np.ndarray,
        rng: np.random.Generator,
        marks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As a call, but sparse: the places (row · L + column) of the tokens to predict, ascending, and
        what the model sees there."""
        chosen, lot = self.choose(src, lengths, rng, marks)
        places = np.flatnonzero(chosen)
        words = None
        if self.similar is not None and marks is not None:
            words = (run_begins(chosen) | (marks & BASIC != 0)).reshape(-1)[places]
        return places, self.replace(src.reshape(-1)[places], lot, rng, words)

    def replace(
        self, ids: np.ndarray, lot: np.ndarray, rng: np.random.Generator, words: np.ndarray | None = None
    ) -> np.ndarray:
        """What the model sees instead of tokens [n], by their lots in [0, 1); `ids` is changed.

        Args:
            words: bool [n], where words begin, for similar ones; None: each token is one.
        """
        hides, random = lot < self.lots[0], (lot >= self.lots[0]) & (lot < self.lots[1])
        if self.similar is None:
            ids[hides] = self.mask_id
        else:
            begins = np.arange(len(ids)) if words is None else np.flatnonzero(words)
            like, found = self.similar(ids, np.diff(np.append(begins, len(ids))), rng)
            ids[hides & found] = like[hides & found]
            random |= hides & ~found
        random = np.flatnonzero(random)
        ids[random] = self.random_ids(len(random), rng)
        return ids

    def choose(
        self,
        src: np.ndarray,
        lengths: np.ndarray,
        rng: np.random.Generator,
        marks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The tokens to predict, bool [B, L], and for each of them its unit's lot in [0, 1)."""
        free = self._ordinary.take(src)
        free &= np.arange(src.shape[1]) < lengths[:, None]
        budget = np.maximum(1, np.rint(self.options.mask_rate * lengths)).astype(np.int64)
        if self.options.span_masking:
            return choose_units(free, self._span_begins(free, rng), budget, rng)
        if self.options.whole_word_masking:
            assert marks is not None, "whole words need word borders"
            return choose_units(free, self._ngrams(free, marks != 0, rng), budget, rng)
        if self.options.ngram_shares:
            return choose_units(free, self._ngrams(free, free, rng), budget, rng)
        if self.options.knowledge_masking:
            assert marks is not None, "phrases and entities need their places"
            level = rng.choice(len(UNITS), len(free), p=self._levels)
            known = (marks & INSIDE[level][:, None]) != 0
            return choose_units(free, (marks & UNITS[level][:, None]) != 0, budget, rng, first=known)
        chosen = choose_tokens(free, budget, rng)
        return chosen, rng.random(np.count_nonzero(chosen))

    def random_ids(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Ids drawn evenly from all that are not special."""
        ids = rng.integers(0, self.vocab_size - len(self._special), count)
        for special in self._special:  # ascending: step over each gap
            ids += ids >= special
        return ids

    def _span_begins(self, free: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """True where a span begins: runs of free tokens are cut from the left into spans of random length."""
        return join(free, free, self._span_cdf, rng)

    def _ngrams(self, free: np.ndarray, words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """True where an n-gram of words begins; words themselves when nothing is said of n-grams."""
        return join(free, words, self._ngram_cdf, rng) if self.options.ngram_shares else words


def join(free: np.ndarray, words: np.ndarray, cdf: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where units of several words begin: the words of each run of free tokens, from the left, 1, 2, … at a
    time as the lot falls.

    Args:
        free: bool [B, L]. words: bool [B, L], where words begin; where a run does, one begins.
        cdf: [n - 1], the probabilities of 1, of at most 2, …, of at most n - 1 words.

    Returns:
        bool [B, L]
    """
    runs = run_begins(free)
    begins = np.flatnonzero((words | runs) & free)
    if len(begins) == 0:
        return runs
    run = np.cumsum(runs)[begins] - 1  # of each word
    sizes = np.bincount(run)  # every run begins with a word
    steps = 1 + np.searchsorted(cdf, rng.random((len(sizes), int(sizes.max()))), side="right")
    ends = np.cumsum(steps, axis=1)
    inside, order = np.nonzero(ends < sizes[:, None])
    out = runs.copy()
    first = np.cumsum(sizes) - sizes
    out.reshape(-1)[begins[first[inside] + ends[inside, order]]] = True
    return out


def run_begins(free: np.ndarray) -> np.ndarray:
    """True at the first token of each run of free tokens in a row; bool [B, L] → bool [B, L]."""
    begins = free.copy()
    begins[:, 1:] &= ~free[:, :-1]
    return begins


def choose_tokens(free: np.ndarray, budget: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`budget[i]` of the free tokens of row i, or all when there are fewer; bool [B, L].

    Every token draws a number, and the smallest numbers of a row are chosen. The column stands in the low
    bits, so that no two numbers of a row are equal.
    """
    rows, width = free.shape
    if width == 0:
        return free.copy()
    kind = np.uint32 if width <= 4096 else np.uint64
    highest = np.iinfo(kind).max
    bits = kind((1 << max(1, (width - 1).bit_length())) - 1)
    keys = rng.integers(0, highest, (rows, width), kind, endpoint=True)
    keys = np.where(free, (keys & ~bits) | np.arange(width, dtype=kind), highest)
    last = np.minimum(np.minimum(budget, free.sum(axis=1)), width) - 1
    limits = np.take_along_axis(np.sort(keys, axis=1), np.maximum(last, 0)[:, None], axis=1)
    return free & (keys <= limits) & (last >= 0)[:, None]


def choose_units(
    free: np.ndarray,
    begins: np.ndarray,
    budget: np.ndarray,
    rng: np.random.Generator,
    first: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Whole units in random order until a row's budget is spent; units larger than what is left are passed
    over.

    Args:
        free: bool [B, L], tokens that may be chosen.
        begins: bool [B, L]; a unit reaches from a free token that begins one (or a run) to the next such
            token.
        budget: [B].
        first: bool [B, L]; units that begin there have their turn before the others.

    Returns:
        bool [B, L] and the lot in [0, 1) of each chosen token's unit.
    """
    begins = (begins | run_begins(free)) & free
    unit = np.cumsum(begins).reshape(free.shape) - 1
    count = int(begins.sum())
    sizes = np.bincount(unit[free], minlength=count)
    row = np.nonzero(begins)[0]
    lots = rng.random(count)
    order = np.lexsort((lots, row) if first is None else (lots, ~first[begins], row))
    per_row = np.bincount(row, minlength=len(free))
    place = np.arange(count) - np.repeat(np.cumsum(per_row) - per_row, per_row)
    table = np.zeros((len(free), int(per_row.max(initial=0))), np.int64)
    table[row, place] = sizes[order]
    taken = take_in_order(table, budget)
    chosen_units = np.zeros(count, bool)
    chosen_units[order] = taken[row, place]
    chosen = free.copy()
    chosen[free] = chosen_units[unit[free]]
    return chosen, rng.random(count)[unit[chosen]]


def take_in_order(sizes: np.ndarray, budget: np.ndarray) -> np.ndarray:
    """Of the units of each row, from left to right, those that still fit into its budget; bool [B, U].

    A few rounds do it: what exceeds the rest of the budget is out for good, and of the others all are taken
    up to the first one that is too much.

    Args:
        sizes: int64 [B, U], 0 where there is no unit.
        budget: [B].
    """
    taken = np.zeros(sizes.shape, bool)
    left = budget.astype(np.int64)[:, None]
    waiting = sizes
    while (waiting := np.where(waiting <= left, waiting, 0)).any():
        fits = (waiting > 0) & (np.cumsum(waiting, axis=1) <= left)
        left = left - (waiting * fits).sum(axis=1, keepdims=True)
        waiting = np.where(fits, 0, waiting)
        taken |= fits
    return taken
