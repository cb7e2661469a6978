"""Texts as ids together with the characters that each of them stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from uer.tasks.ner import word_pieces

UNITS = {
    "char": re.compile(r".", re.S),
    "space": re.compile(r"[^ ]+"),
    "": re.compile(
        r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]|[^\W\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]+|[^\w\s]"
    ),
}
"""what is cut into tokens by itself: no answer begins or ends within a token of it"""
Placed = tuple[np.ndarray, np.ndarray]
"""ids [T] of a text, and the characters [start, stop) of each, [T, 2]"""


def placed(tokenizer: Any, texts: Sequence[str]) -> list[Placed]:
    """Each text as ids and their characters.

    A tokenizer that knows where its tokens stand (`encode_placed`) is asked; for others the text is cut into
    words and single signs first, and all pieces of a word stand for the whole word.
    """
    if (known := tokenizer.encode_placed(texts)) is not None:
        return known
    return in_units(tokenizer, texts)


def in_units(tokenizer: Any, texts: Sequence[str]) -> list[Placed]:
    """Each text cut into what the tokenizer cuts by itself (`UNITS`), a distinct unit once."""
    pattern = UNITS.get(tokenizer.name, UNITS[""])
    found = [[match.span() for match in pattern.finditer(text)] for text in texts]
    units = [text[a:b] for text, spans in zip(texts, found) for a, b in spans]
    ids, offsets = word_pieces(tokenizer, units)
    ends = np.concatenate([[0], np.cumsum([len(spans) for spans in found])])
    out = []
    for spans, first, last in zip(found, ends[:-1], ends[1:]):
        pieces = np.diff(offsets[first : last + 1])
        places = np.repeat(np.array(spans, np.int64).reshape(-1, 2), pieces, axis=0)
        out.append((ids[offsets[first] : offsets[last]], places))
    return out


def tokens_in(places: np.ndarray, start: int, stop: int) -> tuple[int, int] | None:
    """The first and last token that lie in characters [start, stop); None where there are none."""
    inside = np.flatnonzero((places[:, 0] < stop) & (places[:, 1] > start))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None
