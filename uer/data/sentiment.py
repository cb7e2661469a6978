"""Sentiment words and pairs of aspect and opinion in text, and how SKEP hides them (Tian et al. 2020).

Both come from lists of the user. A pair is an aspect and an opinion that the list names together and that
stand close to each other; pairs lie apart, and none reaches over a special token.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from uer.config.preprocess import InstanceOptions
from uer.data.masking import Masker, choose_tokens, choose_units
from uer.data.phrases import Phrases
from uer.data.ragged import ragged_index, starts_of
from uer.data.readers import read_lines
from uer.data.words import WordFinder
from uer.errors import DataError, suggestion
from uer.tokenizers.base import Tokenizer

# What is said of a token: it lies in a sentiment word, begins one, which is positive; it lies in a pair,
# begins one, ends one.
IN_WORD, WORD, POSITIVE, IN_PAIR, PAIR, PAIR_END = 1, 2, 4, 8, 16, 32
POLARITIES = {"negative": 0, "positive": 1}
MOST_PAIRS = 2  # hidden in a row


def read_sentiment_words(paths: Sequence[str]) -> dict[str, int]:
    """Lines `word<TAB>positive` or `word<TAB>negative` → word → 1 or 0; of two lines the first one counts.

    Raises:
        DataError: a file is missing or empty, a line has another form; with the line.
    """
    found: dict[str, int] = {}
    for path in paths:
        for number, (word, polarity) in _two_columns(path, "word<TAB>positive or word<TAB>negative"):
            if polarity not in POLARITIES:
                raise DataError(
                    f"the polarity is '{polarity}'; it must be positive or negative."
                    + suggestion(polarity, POLARITIES),
                    path=path,
                    line=number,
                )
            found.setdefault(word, POLARITIES[polarity])
    return found


def read_pairs(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Lines `aspect<TAB>opinion`.

    Raises:
        DataError: a file is missing or empty, a line has another form; with the line.
    """
    return [pair for path in paths for _, pair in _two_columns(path, "aspect<TAB>opinion")]


def _two_columns(path: str, form: str) -> list[tuple[int, tuple[str, str]]]:
    rows = []
    for number, line in read_lines(path):
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) == 2 and all(fields):
            rows.append((number, (fields[0], fields[1])))
        elif line.strip():
            raise DataError(
                f"the line is '{line[:40]}'; it must have the form {form}.", path=path, line=number
            )
    if not rows:
        raise DataError(f"the list is empty; write lines of the form {form}.", path=path)
    return rows


class SentimentFinder:
    """Says of every token whether it lies in a sentiment word, and in a pair (the bits above).

    Args:
        tokenizer: whose ids the tokens are.
        options: the lists, and how many tokens may stand between the two of a pair.
    """

    def __init__(self, tokenizer: Tokenizer, options: InstanceOptions) -> None:
        self._basic = WordFinder(tokenizer, chinese=False)
        self._special = np.array(sorted(tokenizer.special_ids - {tokenizer.unk_id}))
        words = read_sentiment_words(options.sentiment_path)
        self._words = Phrases.of(tokenizer, list(words), list(words.values()))
        pairs = read_pairs(options.pair_path)  # without any only words are hidden
        aspects = {aspect: number for number, aspect in enumerate(dict.fromkeys(a for a, _ in pairs))}
        opinions = {opinion: number for number, opinion in enumerate(dict.fromkeys(o for _, o in pairs))}
        self._pairs = {(aspects[aspect], opinions[opinion]) for aspect, opinion in pairs}
        self._aspects, self._opinions = Phrases.of(tokenizer, [*aspects]), Phrases.of(tokenizer, [*opinions])
        self._distance = options.pair_distance

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """uint8 [N]."""
        basic = self._basic(ids).astype(bool)
        marks = np.zeros(len(ids), np.uint8)
        starts, sizes, positive = self._words.find(ids, basic)
        marks[ragged_index(starts, sizes)] = IN_WORD | np.repeat(positive, sizes) * POSITIVE
        marks[starts] |= WORD
        for places in self._find_pairs(ids, basic):
            marks[places] |= IN_PAIR
            marks[places[0]] |= PAIR
            marks[places[-1]] |= PAIR_END
        return marks

    def _find_pairs(self, ids: np.ndarray, basic: np.ndarray) -> list[np.ndarray]:
        """The places of each pair, ascending; of several opinions of an aspect it is the nearest one."""
        aspects = [part.tolist() for part in self._aspects.find(ids, basic)]
        opinions = [part.tolist() for part in self._opinions.find(ids, basic)]
        barriers = np.cumsum(np.isin(ids, self._special))
        widest, found, end = max(opinions[1], default=0), [], 0
        for start, size, aspect in zip(*aspects):
            best: tuple[int, int, int] | None = None
            for number in range(
                bisect_left(opinions[0], start - self._distance - widest),
                bisect_left(opinions[0], start + size + self._distance + 1),
            ):
                other, width, opinion = (part[number] for part in opinions)
                gap = max(other - (start + size), start - (other + width))
                near = 0 <= gap <= self._distance and (best is None or gap < best[0])
                first, last = min(start, other), max(start + size, other + width)
                apart = first >= end and barriers[first] == barriers[last - 1]
                if near and apart and (aspect, opinion) in self._pairs:
                    best = (gap, other, width)
            if best is not None:
                _, other, width = best
                found.append(np.sort(np.r_[np.arange(start, start + size), np.arange(other, other + width)]))
                end = int(found[-1][-1]) + 1
        return found

    def prepare(self) -> None:
        """Nothing is left to load."""


def count_sentiment(marks: np.ndarray) -> dict[str, int]:
    """How many sentiment words and pairs a `SentimentFinder` found."""
    return {
        "sentiment_words": int(np.count_nonzero(marks & WORD)),
        "sentiment_pairs": int(np.count_nonzero(marks & PAIR)),
    }


def whole_pairs(marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that lie wholly in a row: first and last place of each in the flattened rows, ascending.

    Args:
        marks: [B, L].
    """
    flat = marks.reshape(-1)
    begins, ends = np.flatnonzero(flat & PAIR), np.flatnonzero(flat & PAIR_END)
    index = np.searchsorted(ends, begins)
    begins, index = begins[index < len(ends)], index[index < len(ends)]
    last = ends[index]
    # One that the end of the row cut off finds the end of another one.
    next_begin = np.append(begins[1:], flat.size)
    kept = (begins // marks.shape[1] == last // marks.shape[1]) & (last < next_begin)
    return begins[kept], last[kept]


def tokens_of_pairs(marks: np.ndarray, begins: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the tokens of pairs in the flattened rows, pair after pair; and how many each has."""
    sizes = last - begins + 1
    places = ragged_index(begins, sizes)
    inside = (marks.reshape(-1)[places] & IN_PAIR) != 0
    number = np.repeat(np.arange(len(begins)), sizes)
    return places[inside], np.bincount(number[inside], minlength=len(begins))


class SentimentMasker(Masker):
    """Hides, in this order: at most two pairs of a row, whole; of the other sentiment words, whole, as many
    as fit into the budget (`mask_rate`, 0.1 in the paper); if that is less than the budget, common tokens.

    Pairs and sentiment words become the mask token, common tokens 8 of 10 times, as ever. Common tokens are
    those outside of sentiment words and pairs.
    """

    def draw(
        self,
        src: np.ndarray,
        lengths: np.ndarray,
        rng: np.random.Generator,
        marks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Masker.draw`; `marks` are those of a `SentimentFinder`."""
        assert marks is not None, "sentiment needs its places"
        free = self._ordinary.take(src) & (np.arange(src.shape[1]) < lengths[:, None])
        paired = self._pairs(marks, rng) & free
        budget = np.maximum(1, np.rint(self.options.mask_rate * lengths)).astype(np.int64)
        word = free & ((marks & IN_WORD) != 0) & ~paired
        chosen, _ = choose_units(word, (marks & WORD) != 0, budget, rng)
        whole = paired | chosen
        common = free & ((marks & (IN_WORD | IN_PAIR)) == 0)
        chosen |= choose_tokens(common, budget - chosen.sum(axis=1), rng)
        chosen |= paired
        places = np.flatnonzero(chosen)
        lot = np.where(whole.reshape(-1)[places], 0.0, rng.random(len(places)))
        return places, self.replace(src.reshape(-1)[places], lot, rng)

    def _pairs(self, marks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The tokens of at most two pairs of each row; bool [B, L]."""
        begins, last = whole_pairs(marks)
        row = begins // marks.shape[1]
        order = np.lexsort((rng.random(len(begins)), row))
        counts = np.bincount(row, minlength=len(marks))
        rank = np.arange(len(begins)) - np.repeat(starts_of(counts), counts)
        kept = np.sort(order[rank < MOST_PAIRS])
        chosen = np.zeros(marks.shape, bool)
        chosen.reshape(-1)[tokens_of_pairs(marks, begins[kept], last[kept])[0]] = True
        return chosen
