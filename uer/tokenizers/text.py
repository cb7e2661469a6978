"""Texts as arrays of code points, and readable text from word pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# No blank stands before these, nor after those.
_CLOSING = set(",.!?;:%)]}'’”、。，！？；：）】》」』…/-_@~*")
_OPENING = set("([{“‘#$/-_@'’（【《「『~*")


def _is_cjk(char: str) -> bool:
    """Whether words on either side of this character are written without blanks."""
    code = ord(char)
    return (
        0x2E80 <= code <= 0xA4CF
        or 0xF900 <= code <= 0xFAFF
        or 0xFE30 <= code <= 0xFFEF
        or 0x20000 <= code < 0x323B0
    )


def _parted(before: str, after: str, text: Sequence[str]) -> bool:
    """Whether a blank belongs between two characters that end and begin two tokens."""
    if _is_cjk(before) or _is_cjk(after) or after in _CLOSING or before in _OPENING:
        return False
    # 3.5 and 1,000: signs between digits stay close.
    return not (before in ".,:" and after.isdigit() and len(text) > 1 and text[-2][-1:].isdigit())


def join_wordpieces(tokens: Sequence[str], prefix: str = "##") -> str:
    """Join pieces to words, words to a line: blanks between Latin words, none between Chinese ones."""
    out: list[str] = []
    for token in tokens:
        if token.startswith(prefix) and len(token) > len(prefix) and out:
            out.append(token[len(prefix) :])
        elif token:
            if out and _parted(out[-1][-1], token[0], out):
                out.append(" ")
            out.append(token)
    return "".join(out)


def sound(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which the libraries do not take; itself when it has none."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def join(texts: Sequence[str]) -> tuple[str, np.ndarray, np.ndarray]:
    """Texts as one, a line feed behind each.

    Returns:
        the joined text, its code points (uint32), and the end of each text, line feed included (int64).
    """
    joined = "\n".join(texts) + "\n"
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    return joined, np.array(joined).reshape(1).view(np.uint32), ends
