"""Where a text ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from uer.tokenizers.base import Tokenizer


class Ended(NamedTuple):
    """A continuation without what ended it."""

    ids: list[int]
    """the tokens that lie wholly in the text"""
    text: str
    """readable, special tokens left out"""
    rest: str
    """the end of `text` that is only part of a token: the stop string began within it"""


class Stopping:
    """Stop strings. One that is a special token of the vocabulary is met as that token, others in the text.

    Args:
        tokenizer: makes the text in which strings are looked for, special tokens left out.
        stops: the strings.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        special = {tokenizer.vocab.tokens[number]: number for number in tokenizer.special_ids}
        self.ids = frozenset(special[text] for text in stops if text in special)
        self.strings = tuple(text for text in stops if text not in special)
        # A character is at most four tokens (bytes of UTF-8), so this many tokens hold the longest string.
        self._reach = 4 * max(map(len, self.strings), default=0) + 4

    def met(self, ids: Sequence[int]) -> bool:
        """Whether the newest token of a continuation ends it."""
        return ids[-1] in self.ids or bool(self._completed(ids))

    def _completed(self, ids: Sequence[int]) -> list[str]:
        """The strings that the newest token completes."""
        if not self.strings:
            return []
        tail = list(ids[-self._reach :])
        now, before = self.tokenizer.decode(tail), self.tokenizer.decode(tail[:-1])
        return [text for text in self.strings if now.count(text) > before.count(text)]

    def cut(self, ids: Sequence[int], stopped: bool) -> Ended:
        """A continuation without the token or the string that ended it; `stopped` says whether one did."""
        ids = list(ids)
        completed = self._completed(ids) if stopped and ids[-1] not in self.ids else []
        if stopped and not completed:
            ids.pop()
        text = self.tokenizer.decode(ids)
        if completed:
            before = self.tokenizer.decode(ids[:-1])
            text = text[: min(_place(text, stop, before.count(stop)) for stop in completed)]
            while ids and not text.startswith(self.tokenizer.decode(ids)):
                ids.pop()
        return Ended(ids, text, text[len(self.tokenizer.decode(ids)) :])

    def sure(self, ids: Sequence[int]) -> list[int]:
        """The first tokens of a growing text, without those that may be the beginning of a stop string."""
        ids = list(ids)
        if not self.strings:
            return ids
        text = self.tokenizer.decode(ids)
        begun = max(_begun(text, stop) for stop in self.strings)
        while begun and ids and len(self.tokenizer.decode(ids)) > len(text) - begun:
            ids.pop()
        return ids


def _place(text: str, stop: str, earlier: int) -> int:
    """Where `stop` begins first behind so many earlier ones, or last; a token may bring it several times."""
    parts = text.split(stop)
    return len(stop.join(parts[: min(earlier + 1, len(parts) - 1)]))


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
