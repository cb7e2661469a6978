"""jieba's words in Chinese text, found for many texts at once by array operations.

Dictionary and character model are jieba's own, read from the installed package, and the words are the same as
those of `jieba.cut`: the likeliest path through the words of the dictionary; and where it leaves single
characters side by side, the likeliest tags (begins a word, ends it …) of a hidden Markov model.
jieba itself takes some microseconds a character, which would be most of the time of whole-word masking.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from uer.utils.lazy import optional

# What jieba looks for words in; every other character stands alone.
FIRST, LAST = 0x4E00, 0x9FD5
BITS = 15  # of a character, counted from FIRST
NO_NODE = -1
# Tags in the order in which jieba settles ties: the later one wins.
BEGIN, END, MIDDLE, SINGLE = range(4)
LETTERS = "BEMS"
BEFORE = np.array([[END, SINGLE], [BEGIN, MIDDLE], [BEGIN, MIDDLE], [END, SINGLE]])  # what each may follow


def load_jieba() -> Any:
    """jieba, quiet and ready.

    Raises:
        EnvironmentFault: it is not installed.
    """
    jieba = optional("jieba", "words")
    if not jieba.dt.initialized:
        jieba.setLogLevel(60)
        jieba.initialize()
    return jieba


@cache
def chinese_words() -> ChineseWords:
    """jieba's dictionary and model as arrays, made once.

    Raises:
        EnvironmentFault: jieba is not installed.
    """
    jieba = load_jieba()
    model = jieba.finalseg
    return ChineseWords(jieba.dt.FREQ, jieba.dt.total, TagModel(model.start_P, model.trans_P, model.emit_P))


class ChineseWords:
    """Where words begin in Chinese text.

    The words of the dictionary and all their beginnings are a tree. Level k holds those of k characters as
    sorted numbers (place of the parent on its level, last character), so that one search finds the children
    of many nodes.

    Args:
        frequencies: word → how often it comes; beginnings of words that are none have 0.
        total: the sum of the frequencies.
        tags: the model for what the dictionary lacks.
    """

    def __init__(self, frequencies: dict[str, int], total: float, tags: TagModel) -> None:
        self._tags, self._log_total = tags, math.log(total)
        self._first = np.full(LAST - FIRST + 1, NO_NODE)
        self._keys: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []  # log probability, -inf for what is only a beginning
        chinese = (word for word in frequencies if all(FIRST <= ord(char) <= LAST for char in word))
        for size, words in groupby(sorted(chinese, key=len), len):
            self._add_level(size, list(words), frequencies)

    def _add_level(self, size: int, words: list[str], frequencies: dict[str, int]) -> None:
        """All words of one size; those that are shorter are there already."""
        chars = np.array(["".join(words)]).view(np.uint32).reshape(-1, size).astype(np.int64) - FIRST
        counts = [frequencies[word] for word in words]
        scores = np.array([math.log(n) - self._log_total if n else -np.inf for n in counts])
        node = np.zeros(len(words), np.int64)
        for level in range(size - 1):
            node = self._children(level, node, chars[:, level])[0]
        keys = node << BITS | chars[:, -1]
        order = np.argsort(keys)
        self._keys.append(keys[order])
        self._scores.append(scores[order])
        if size == 1:
            self._first[self._keys[0]] = np.arange(len(words))

    def _children(self, level: int, node: np.ndarray, chars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nodes of a level below `node`, by their last characters; and which of them there are."""
        if level == 0:
            found = self._first.take(chars)
            return found, found != NO_NODE
        keys, wanted = self._keys[level], node << BITS | chars
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return at, keys.take(at) == wanted

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """bool [N]: true where a word begins, given code points [N]."""
        chinese = np.zeros(len(codes) + 1, bool)  # the last one is behind the text
        chinese[:-1] = (codes >= FIRST) & (codes <= LAST)
        begins = ~chinese[:-1]
        places = np.flatnonzero(chinese)
        if len(places) == 0:
            return begins
        chars = codes.take(places).astype(np.int64) - FIRST
        others = np.flatnonzero(~chinese)
        left = others[np.searchsorted(others, places)] - places  # characters up to the end of the run
        scores = self._candidates(chars, left)
        steps = np.ones(len(codes), np.int64)
        steps[places] = likeliest(scores, places, left)
        walk(begins, chinese, steps)
        self._join_singles(begins, chinese, steps, scores, places, chars)
        return begins

    def _candidates(self, chars: np.ndarray, left: np.ndarray) -> np.ndarray:
        """[M, K]: the score of the word of 1 … K characters that begins at each place, -inf if none does."""
        columns = []
        live, node = np.arange(len(chars)), np.zeros(len(chars), np.int64)
        for level, known in enumerate(self._scores):
            inside = left.take(live) > level
            live, node = live[inside], node[inside]
            node, found = self._children(level, node, chars.take(live + level))
            live, node = live[found], node[found]
            if len(live) == 0:
                break
            column = np.full(len(chars), -np.inf)
            column[live] = known.take(node)
            columns.append(column)
        scores = np.stack(columns, axis=1) if columns else np.full((len(chars), 1), -np.inf)
        scores[np.isneginf(scores).all(axis=1), 0] = -self._log_total  # unknown: as if seen once, alone
        return scores

    def _join_singles(
        self,
        begins: np.ndarray,
        chinese: np.ndarray,
        steps: np.ndarray,
        scores: np.ndarray,
        places: np.ndarray,
        chars: np.ndarray,
    ) -> None:
        """Let the model cut where characters were left alone side by side; not those that are a word of the
        dictionary, though a less likely one."""
        single = begins & chinese[:-1] & (steps == 1)
        edges = np.flatnonzero(np.diff(single, prepend=False, append=False))
        starts, sizes = edges[::2], edges[1::2] - edges[::2]
        several = sizes > 1
        starts, sizes = starts[several], sizes[several]
        rows = np.searchsorted(places, starts)
        width = scores.shape[1]
        known = (sizes <= width) & (scores[rows, np.minimum(sizes, width) - 1] > -np.inf)
        starts, sizes, rows = starts[~known], sizes[~known], rows[~known]
        if len(starts):
            self._tags.cut(begins, starts, sizes, chars, rows)


def likeliest(scores: np.ndarray, places: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The size of the first word on the likeliest path from each place to the end of its run; from right to
    left, all runs at once. Of equally likely paths that with the longer word.

    Args:
        scores: [M, K].
        places, left: [M], places in the text, and characters from there to the end of the run.
    """
    order = np.argsort(left, kind="stable")
    stops = np.cumsum(np.bincount(left))
    scores, places = scores[order], places[order]
    best = np.zeros(int(places.max()) + int(left.max()) + 1)  # 0 at the end of a run
    steps = np.empty(len(order), np.int64)
    for distance in range(1, len(stops)):
        rows = slice(stops[distance - 1], stops[distance])
        width = min(distance, scores.shape[1])
        paths = scores[rows, :width] + best[places[rows, None] + np.arange(1, width + 1)]
        size = width - np.argmax(paths[:, ::-1], axis=1)
        steps[rows] = size
        best[places[rows]] = paths[np.arange(len(size)), size - 1]
    out = np.empty_like(steps)
    out[order] = steps
    return out


def walk(begins: np.ndarray, chinese: np.ndarray, steps: np.ndarray) -> None:
    """Mark where words begin, going through all runs at once, a word at a time."""
    at = np.flatnonzero(chinese & ~np.concatenate(([False], chinese[:-1])))
    while len(at):
        begins[at] = True
        at += steps.take(at)
        at = at[chinese.take(at)]


class TagModel:
    """A hidden Markov model that gives each character a tag: begins, ends or goes on with a word, or is one.

    Args:
        start: tag letter → log probability of the first tag.
        moves: tag letter → tag letter → log probability.
        emissions: tag letter → character → log probability.
    """

    LEAST = -3.14e100  # what jieba puts in the place of log 0

    def __init__(self, start: dict, moves: dict, emissions: dict) -> None:
        self._start = np.array([start[letter] for letter in LETTERS])
        self._moves = np.array(
            [
                [moves[LETTERS[before]].get(letter, self.LEAST) for before in row]
                for letter, row in zip(LETTERS, BEFORE)
            ]
        )
        self._emissions = np.full((LAST - FIRST + 1, len(LETTERS)), self.LEAST)
        for tag, letter in enumerate(LETTERS):
            for char, value in emissions[letter].items():
                if FIRST <= ord(char) <= LAST:
                    self._emissions[ord(char) - FIRST, tag] = value

    def cut(
        self, begins: np.ndarray, starts: np.ndarray, sizes: np.ndarray, chars: np.ndarray, rows: np.ndarray
    ) -> None:
        """Mark where words begin inside runs of characters (Viterbi 1967), all runs at once.

        Args:
            begins: bool [N], changed.
            starts, sizes: [R], the runs in it.
            chars, rows: the characters, and where each run begins in them.
        """
        order = np.argsort(-sizes, kind="stable")  # longest first: those that go on are the first ones
        starts, sizes, rows = starts[order], sizes[order], rows[order]
        going = len(sizes) - np.searchsorted(sizes[::-1], np.arange(int(sizes[0]) + 1), side="right")
        best = self._start + self._emissions[chars.take(rows)]
        backs = [np.zeros((0, len(LETTERS)), bool)]
        for time in range(1, int(sizes[0])):
            n = going[time]
            seen = self._emissions[chars.take(rows[:n] + time)]
            early = best[:n, BEFORE[:, 0]] + self._moves[:, 0] + seen
            late = best[:n, BEFORE[:, 1]] + self._moves[:, 1] + seen
            backs.append(late >= early)
            best[:n] = np.maximum(early, late)
        tags = np.where(best[:, SINGLE] >= best[:, END], SINGLE, END)
        for time in range(int(sizes[0]) - 1, 0, -1):
            n = going[time]
            chosen = backs[time][np.arange(n), tags[:n]].astype(np.int64)
            tags[:n] = BEFORE[tags[:n], chosen]
            begins[starts[:n] + time] = (tags[:n] == END) | (tags[:n] == SINGLE)
