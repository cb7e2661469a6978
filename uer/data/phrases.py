"""Texts of a list, found among tokens: at each place the longest one that begins there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from uer.tokenizers.base import Tokenizer

# What may stand before a text: nothing, a blank, another character. Pieces of words differ behind them.
CONTEXTS = ("", " ", "。")
BITS = 32  # of a token in a key, behind the number of a node


def encodings(tokenizer: Tokenizer, texts: Sequence[str]) -> list[set[tuple[int, ...]]]:
    """For each text all ways in which its tokens may stand in a longer text; none if one is unknown."""
    found: list[set[tuple[int, ...]]] = [set() for _ in texts]
    for context in CONTEXTS:
        front = tokenizer.encode(context)
        if tokenizer.unk_id in front:
            continue
        ids, offsets = tokenizer.encode_batch([context + text for text in texts])
        for ways, start, end in zip(found, offsets[:-1].tolist(), offsets[1:].tolist()):
            way = ids[start:end].tolist()
            known = tokenizer.unk_id not in way[len(front) :]
            if known and way[: len(front)] == front and len(way) > len(front):
                ways.add(tuple(way[len(front) :]))
    return found


class Phrases:
    """Runs of tokens and what each of them stands for, as a tree.

    A node is a beginning of a run; node 0 is the empty one. All steps of the tree are one sorted array of
    numbers (node, token), so that the next step of many places is one search.

    Args:
        runs: (tokens, value of 0 or more); of equal runs the first one counts.
    """

    def __init__(self, runs: Iterable[tuple[Sequence[int], int]]) -> None:
        steps: dict[int, int] = {}
        values = [-1]
        for tokens, value in runs:
            node = 0
            for token in tokens:
                node = steps.setdefault(node << BITS | token, len(values))
                if node == len(values):
                    values.append(-1)
            if values[node] < 0:
                values[node] = value
        order = sorted(steps)
        self._keys = np.array(order, np.int64)
        self._nodes = np.array([steps[key] for key in order], np.int64)
        self._values = np.array(values, np.int64)

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: Sequence[str], values: Sequence[int] | None = None) -> Phrases:
        """Of texts; without `values` each one's is its number."""
        numbers = range(len(texts)) if values is None else values
        return cls((way, value) for ways, value in zip(encodings(tokenizer, texts), numbers) for way in ways)

    def find(self, ids: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Occurrences from left to right, none overlapping another: places, sizes and values, int64 [n].

        Args:
            ids: [N].
            begins: bool [N], where a word begins; an occurrence begins and ends at the borders of words.
        """
        size, value = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        if len(self._keys):
            self._longest(ids.astype(np.int64), np.append(begins, True), size, value)
        starts, kept, end = np.flatnonzero(size), [], 0
        for start, length in zip(starts.tolist(), size[starts].tolist()):
            kept.append(start >= end)
            end = start + length if kept[-1] else end
        starts = starts[np.array(kept, bool)]
        return starts, size[starts], value[starts]

    def _longest(self, ids: np.ndarray, begins: np.ndarray, size: np.ndarray, value: np.ndarray) -> None:
        """Write the size and the value of the longest run at each place; `begins` has one more element."""
        live = np.flatnonzero(begins[:-1])
        node, depth = np.zeros(len(live), np.int64), 0
        while len(live):
            inside = live + depth < len(ids)
            live, node = live[inside], node[inside]
            wanted = node << BITS | ids[live + depth]
            at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
            found = self._keys[at] == wanted
            live, node, depth = live[found], self._nodes[at[found]], depth + 1
            whole = (self._values[node] >= 0) & begins[live + depth]
            size[live[whole]], value[live[whole]] = depth, self._values[node[whole]]
