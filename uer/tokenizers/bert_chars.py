"""What BERT's normaliser and pre-tokeniser do to each code point, as arrays indexed by the code point.

The arrays are unpacked from `char_tables.py`, which `make_char_tables.py` wrote from the behaviour of
`tokenizers`; no Unicode data of the running Python is used, so ids do not depend on its version.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np

UNICODE_SIZE = 0x110000
# Classes. Everything that is not a plain letter, blank or sign is below LETTER: one comparison finds the rare
# cases.
ALONE = 0  # a token of its own: CJK, punctuation
SPACE = -1  # parts words
LETTER = -2  # one letter of a word
DROP = -3  # vanishes: control characters, accents when lower-casing, lone surrogates
EXPAND = -4  # becomes several letters
MOVES = -5  # canonical ordering may move it past its neighbour


@dataclass(frozen=True)
class CharTable:
    """The behaviour of all code points under one setting of lower-casing.

    Attributes:
        classes: int8 [0x110000], one of the constants of this module.
        letters: uint32 [0x110000], what an `ALONE` or `LETTER` code point becomes, itself for the others.
        expand_codes: the `EXPAND` code points, ascending.
        expand_starts: for each of them, where its letters begin in `expand_pool`; one more at the end.
        expand_pool: the letters of all of them.
    """

    classes: np.ndarray
    letters: np.ndarray
    expand_codes: np.ndarray
    expand_starts: np.ndarray
    expand_pool: np.ndarray


def unpack(text: str) -> list[np.ndarray]:
    """The arrays that `make_char_tables.pack` packed, as int64."""
    raw, arrays, at = zlib.decompress(base64.b85decode(text)), [], 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 4], "little")
        values = np.frombuffer(raw, "<i4", length, at + 4)
        arrays.append(np.cumsum(values, dtype=np.int64))
        at += 4 + 4 * length
    return arrays


@cache
def load(lowercase: bool) -> CharTable:
    """The table for lower-casing (which also strips accents) or for keeping the case."""
    from uer.tokenizers import char_tables

    starts, classes, shifts, codes, lengths, pool = unpack(
        char_tables.LOWER if lowercase else char_tables.CASED
    )
    sizes = np.diff(starts, append=UNICODE_SIZE)
    letters = np.arange(UNICODE_SIZE) + np.repeat(shifts, sizes)
    return CharTable(
        classes=np.repeat(classes, sizes).astype(np.int8),
        letters=letters.astype(np.uint32),
        expand_codes=codes,
        expand_starts=np.concatenate(([0], np.cumsum(lengths))),
        expand_pool=pool.astype(np.uint32),
    )
