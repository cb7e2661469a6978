"""Phrases and entities in text, which ERNIE's masking hides whole (Sun et al. 2019).

They come from lists (`--knowledge_path`), and from a field `spans` of the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from uer.data.masking import BASIC, ENTITY, IN_ENTITY, IN_PHRASE, PHRASE
from uer.data.phrases import Phrases
from uer.data.ragged import ragged_index
from uer.data.readers import read_lines
from uer.data.store import Store
from uer.data.words import Beside, WordFinder, beside
from uer.errors import DataError, suggestion
from uer.tokenizers.base import Tokenizer
from uer.utils.files import require_file, sha256
from uer.utils.jsons import parse_json

LEVELS = ("phrase", "entity")
BITS = {"phrase": (PHRASE, IN_PHRASE), "entity": (ENTITY, IN_ENTITY)}


class TextSpan(NamedTuple):
    """A phrase or an entity of a text, in characters."""

    start: int
    end: int
    level: str


def read_knowledge(paths: Sequence[str]) -> dict[str, list[str]]:
    """The phrases and entities of lists: "phrase" and "entity" → texts.

    A line is `entry`, which is an entity, or `entry<TAB>level`; in files that end in `.jsonl` it is an object
    with the fields `text` and, if it is no entity, `level`.

    Raises:
        DataError: a file is missing or empty, a line has another form; with the line.
    """
    found: dict[str, dict[str, None]] = {level: {} for level in LEVELS}
    for path in paths:
        count = 0
        for number, line in read_lines(path):
            if not line.strip():
                continue
            try:
                text, level = _json_entry(line) if path.endswith(".jsonl") else _entry(line)
                _check_level(level)
            except DataError as error:
                raise DataError(error.message, path=path, line=number) from error
            found[level][text] = None
            count += 1
        if not count:
            raise DataError("the list is empty; write one entity or phrase a line.", path=path)
    return {level: list(texts) for level, texts in found.items()}


def _entry(line: str) -> tuple[str, str]:
    text, _, level = line.partition("\t")
    return text.strip(), level.strip() or "entity"


def _json_entry(line: str) -> tuple[str, str]:
    try:
        entry = parse_json(line)
    except json.JSONDecodeError as error:
        raise DataError(f"this is not JSON ({error.msg} at column {error.colno}).") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str) or not entry["text"].strip():
        raise DataError('an entry is an object with a text, as {"text": "…", "level": "phrase"}.')
    return entry["text"].strip(), entry.get("level", "entity")


def _check_level(level: Any) -> None:
    if level not in LEVELS:
        near = suggestion(level, LEVELS) if isinstance(level, str) else ""
        raise DataError(f"the level is {level!r}; it must be entity or phrase.{near}")


def parse_spans(value: Any, text: str) -> list[TextSpan]:
    """The field `spans` of a record, in the order of their places.

    Args:
        value: `[[start, end], [start, end, "phrase"], …]`, or in words `"0-2 5-8:phrase"`; counted in
            characters of `text`, the end behind the last one. Without a level it is an entity.

    Raises:
        DataError: another form, a place outside of the text, two that overlap on one level.
    """
    if isinstance(value, str):
        value = [_worded(word) for word in value.split()]
    if not isinstance(value, list):
        raise DataError(f"the field 'spans' is {type(value).__name__}; write [[start, end, level], …].")
    spans = sorted(_span(item, len(text)) for item in value)
    for level in LEVELS:
        own = [span for span in spans if span.level == level]
        for before, span in pairwise(own):
            if span.start < before.end:
                raise DataError(
                    f"the spans {before.start}-{before.end} and {span.start}-{span.end} overlap; spans of "
                    "one level must lie apart."
                )
    return spans


def _worded(word: str) -> list[Any]:
    places, _, level = word.partition(":")
    start, _, end = places.partition("-")
    if not (start.isdecimal() and end.isdecimal()):
        raise DataError(f"the span is '{word}'; write start-end or start-end:level, as 0-2 5-8:phrase.")
    return [int(start), int(end), level or "entity"]


def _span(item: Any, length: int) -> TextSpan:
    sound = isinstance(item, list) and len(item) in (2, 3)
    if not sound or not all(isinstance(place, int) for place in item[:2]):
        raise DataError(f"the span is {item!r}; write [start, end] or [start, end, level].")
    start, end = item[:2]
    if not 0 <= start < end <= length:
        raise DataError(f"the span {start}-{end} lies outside of the text, which has {length} characters.")
    level = item[2] if len(item) == 3 else "entity"
    _check_level(level)
    return TextSpan(start, end, level)


def token_spans(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    spans: Sequence[Sequence[TextSpan]],
    ids: np.ndarray,
    offsets: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Spans of characters as marks of tokens.

    Args:
        spans: of each text.
        ids, offsets: the tokens of the texts, as `encode_batch` gives them.

    Returns:
        uint8 [N], bits of `uer.data.masking` that say where a span begins and what lies in it; and how many
        spans were left out, since their borders are not those of tokens.
    """
    marks, lost = np.zeros(len(ids), np.uint8), 0
    for number, own in enumerate(spans):
        if not own:
            continue
        first, end = int(offsets[number]), int(offsets[number + 1])
        places = sorted({place for span in own for place in span[:2]})
        before = dict(zip(places, _tokens_before(tokenizer, texts[number], places, ids[first:end])))
        for span in own:
            start, stop = before[span.start], before[span.end]
            if start is None or stop is None or start == stop:
                lost += 1
                continue
            begins, inside = BITS[span.level]
            marks[first + start] |= begins
            marks[first + start : first + stop] |= inside
    return marks, lost


def _tokens_before(tokenizer: Tokenizer, text: str, places: list[int], ids: np.ndarray) -> list[int | None]:
    """How many tokens lie before each place of a text; None where a token reaches over it."""
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)])]
    found, offsets = tokenizer.encode_batch(pieces)
    if np.array_equal(found, ids):
        return offsets[1:-1].tolist()
    # The pieces look different alone (a blank put before each, a word cut in two): encode up to each place.
    found, offsets = tokenizer.encode_batch([text[:place] for place in places])
    heads = [found[start:end] for start, end in pairwise(offsets)]
    return [len(head) if np.array_equal(head, ids[: len(head)]) else None for head in heads]


def knowledge_of(store: Store, tokenizer: Tokenizer | None, paths: Sequence[str]) -> np.ndarray:
    """What a `KnowledgeFinder` says of the tokens of a dataset: with lists, from the file beside it, which is
    made at the first need; else from the dataset.

    Args:
        tokenizer: the one the dataset was made with.

    Raises:
        DataError: there are no lists and the dataset has none; a list is at fault.
    """
    if not paths and "knowledge" in store:
        return store["knowledge"]
    if not paths or tokenizer is None:
        raise DataError(
            "--knowledge_masking needs the places of phrases and entities, which the dataset lacks; give "
            "their lists with --knowledge_path, or run preprocess.py with --knowledge_masking too.",
            path=store.path,
        )
    key = " ".join(sha256(require_file(path, "list", "--knowledge_path")) for path in paths)
    make = partial(KnowledgeFinder, tokenizer, paths)
    return beside(store, Beside("knowledge", ".knowledge", "phrases and entities", make, key))


def count_knowledge(marks: np.ndarray) -> dict[str, int]:
    """How many phrases and entities a `KnowledgeFinder` found."""
    names = {"phrase": "phrases", "entity": "entities"}
    return {
        names[level]: int(np.count_nonzero((marks & (begin | inside)) == (begin | inside)))
        for level, (begin, inside) in BITS.items()
    }


class KnowledgeFinder:
    """Says of every token what begins with it and what it belongs to (bits of `uer.data.masking`).

    A basic unit is a Chinese character, a Latin word, or else a token. On the level of phrases (entities) a
    unit is a phrase (an entity), and a basic unit where there is none.

    Args:
        tokenizer: whose ids the tokens are.
        paths: lists of phrases and entities.
    """

    def __init__(self, tokenizer: Tokenizer, paths: Sequence[str]) -> None:
        self._basic = WordFinder(tokenizer, chinese=False)
        entries = read_knowledge(paths)
        self._lists = {level: Phrases.of(tokenizer, entries[level]) for level in LEVELS}

    def __call__(self, ids: np.ndarray, spans: np.ndarray | None = None) -> np.ndarray:
        """uint8 [N].

        Args:
            spans: uint8 [N], what `token_spans` gave; texts of the lists that overlap them are left alone.
        """
        basic = self._basic(ids).astype(bool)
        marks = np.where(basic, BASIC, 0).astype(np.uint8)
        held = np.zeros(len(ids), np.uint8) if spans is None else spans
        for level, (begin_bit, inside_bit) in BITS.items():
            begins, inside = (held & begin_bit) > 0, (held & inside_bit) > 0
            starts, sizes, _ = self._lists[level].find(ids, basic)
            ahead = np.concatenate(([0], np.cumsum(inside)))
            clear = ahead[starts + sizes] == ahead[starts]
            starts, sizes = starts[clear], sizes[clear]
            begins[starts] = True
            inside[ragged_index(starts, sizes)] = True
            behind = np.concatenate(([False], inside[:-1]))
            units = begins | (~inside & (basic | behind))
            marks[units] |= begin_bit
            marks[inside] |= inside_bit
        return marks

    def prepare(self) -> None:
        """Nothing is left to load; as `WordFinder.prepare`."""
