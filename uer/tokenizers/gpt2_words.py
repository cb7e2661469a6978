r"""GPT-2's words, found without a regular expression (Radford et al. 2019).

The pattern is `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. Only three things
decide where a word begins: the class of each code point (asked of `tokenizers`, see `make_char_tables.py`),
the last blank of a run, which belongs to the word behind it, and contractions behind an apostrophe that
begins a word.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from uer.tokenizers.bert_chars import UNICODE_SIZE, unpack
from uer.tokenizers.text import join

LETTER, NUMBER, OTHER, SPACE, END = 0, 1, 2, 3, 4
_BLANK, _APOSTROPHE = ord(" "), ord("'")
# What may stand behind the apostrophe: s t m d, and re ve ll as their two letters.
_ONE = np.array([ord(char) for char in "stmd"], np.uint32)
_TWO = tuple((ord(pair[0]), ord(pair[1])) for pair in ("re", "ve", "ll"))


@cache
def load() -> np.ndarray:
    """int8 [0x110000]: LETTER, NUMBER, OTHER or SPACE."""
    from uer.tokenizers import char_tables

    starts, classes = unpack(char_tables.GPT2)
    return np.repeat(classes, np.diff(starts, append=UNICODE_SIZE)).astype(np.int8)


def word_bounds(codes: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where words begin and end.

    Args:
        codes: uint32 [n], the code points of texts with one more behind each text.
        ends: the end of each text, that code point included.

    Returns:
        the beginnings and the ends of the words of all texts, in order.
    """
    kinds = load().take(codes)
    kinds[ends - 1] = END
    begins = np.ones(len(codes), bool)
    np.not_equal(kinds[1:], kinds[:-1], out=begins[1:])
    begins[ends[:-1]] = True
    _give_blanks_away(codes, kinds, begins)
    _part_contractions(codes, begins)
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], len(codes))
    words = kinds.take(starts) != END
    return starts[words], stops[words]


def _give_blanks_away(codes: np.ndarray, kinds: np.ndarray, begins: np.ndarray) -> None:
    """The last of a run of white space before a word is apart from the run; a plain blank begins the word."""
    spaces = np.flatnonzero(kinds == SPACE)
    last = spaces[kinds.take(spaces + 1) < SPACE]
    begins[last] = True
    begins[last[codes.take(last) == _BLANK] + 1] = False


def _part_contractions(codes: np.ndarray, begins: np.ndarray) -> None:
    """`'s` and the like are words, when the apostrophe begins one."""
    quotes = np.flatnonzero(codes == _APOSTROPHE)
    quotes = quotes[begins.take(quotes)]
    if quotes.size == 0:
        return
    # The code point behind the last text keeps + 1 inside; + 2 may run out only when + 1 is that code point.
    next_one = codes.take(quotes + 1)
    next_two = codes.take(np.minimum(quotes + 2, len(codes) - 1))
    lengths = np.isin(next_one, _ONE).astype(np.int64)
    for first, second in _TWO:
        lengths[(next_one == first) & (next_two == second)] = 2
    quotes, lengths = quotes[lengths > 0], lengths[lengths > 0]
    begins[quotes + 1] = False
    begins[quotes + 1 + lengths] = True


def cut_place(text: str, start: int, stop: int) -> int:
    """Where a word begins whatever stands before it (see `words.encode_blocks`): where the class changes, not
    behind white space (its last blank belongs to the next word) or an apostrophe (a contraction).
    """
    _, codes, _ = join([text[start:stop]])
    kinds = load().take(codes[:-1])
    before = kinds[:-1]
    places = np.flatnonzero((kinds[1:] != before) & (before != SPACE) & (codes[:-2] != _APOSTROPHE))
    return start + int(places[-1]) + 1 if places.size else start
