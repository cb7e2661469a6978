"""Words like a word, in tokens: from a list, or the nearest of a file of word vectors (Cui et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uer.data.ragged import ragged_arange, ragged_index, starts_of
from uer.data.random import mix
from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.utils.logging import logger

NEAREST = 10  # words taken as similar by their vectors
WORDS = 50_000  # vectors read: such files begin with the most frequent words
BLOCK = 1024  # words compared with all others at a time


class SimilarWords:
    """For words, given as tokens, others of as many tokens.

    Args:
        paths: UTF-8 text. A line `word<TAB>similar similar …` each (tabs or blanks between them), or the text
            format of word2vec: a word and its numbers, parted by blanks, perhaps behind a line with the two
            sizes; then the nearest ten by cosine are similar.
        tokenizer: cuts the words; a word with a token that it does not know is left out.

    Raises:
        DataError: a file is missing or neither of both (with line), or no word has a similar one of as many
            tokens.
    """

    def __init__(self, paths: Sequence[str | Path], tokenizer: Tokenizer) -> None:
        table: dict[str, list[str]] = {}
        for path in map(Path, paths):
            lines = _lines(path)
            first = list(islice(lines, 1))
            listed = any("\t" in text for _, text in first)
            lines = chain(first, lines)
            found = _listed(path, lines) if listed else _nearest(*_vectors(path, lines), tokenizer)
            for word, similar in found:
                table.setdefault(word, []).extend(similar)
        entries, texts = _in_tokens(table, tokenizer)
        if not entries:
            raise DataError(
                "no word in it has a similar one of as many tokens in this vocabulary; give a list that fits "
                "it with --similar_words_path.",
                path=paths[0],
            )
        order = sorted(entries)
        self._keys = np.array(order, np.uint64)
        self._sizes = np.array([entries[key].size for key in order])
        self._counts = np.array([len(entries[key].similar) for key in order])
        self._starts = starts_of(self._sizes * self._counts)
        self._ids = np.concatenate([texts[place] for key in order for place in entries[key].similar])
        logger.info("%s: %s words have similar ones.", ", ".join(map(str, paths)), f"{len(self):,}")

    def __len__(self) -> int:
        return len(self._keys)

    def __call__(
        self, ids: np.ndarray, sizes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A similar word for each word.

        Args:
            ids: int64 [T], the words' tokens, one word after another.
            sizes: [W], of how many each consists.

        Returns:
            int64 [T], tokens of similar words, and bool [T], which words had one; the others' tokens are
            left as they are.
        """
        hashes = hashed(ids, sizes)
        found = np.minimum(np.searchsorted(self._keys, hashes), len(self) - 1)
        has = (self._keys[found] == hashes) & (self._sizes[found] == sizes)
        chosen, size = found[has], sizes[has]
        drawn = (rng.random(len(chosen)) * self._counts[chosen]).astype(np.int64)
        tokens = np.repeat(has, sizes)
        out = ids.copy()
        out[tokens] = self._ids[ragged_index(self._starts[chosen] + size * drawn, size)]
        return out, tokens


class _Entry(NamedTuple):
    size: int
    """tokens of the word, and of each similar one"""
    similar: dict[int, None]
    """numbers of texts, in order"""


def _in_tokens(
    table: dict[str, list[str]], tokenizer: Tokenizer
) -> tuple[dict[int, _Entry], list[np.ndarray]]:
    """By the hash of a word's tokens what is similar, and the tokens of all texts by number."""
    numbers = {text: place for place, text in enumerate(dict.fromkeys(chain(table, *table.values())))}
    ids, offsets = tokenizer.encode_batch(list(numbers))
    texts = np.split(ids.astype(np.int64), offsets[1:-1])
    hashes = hashed(ids, np.diff(offsets)).tolist()
    known = [len(text) > 0 and tokenizer.unk_id not in text for text in texts]
    entries: dict[int, _Entry] = {}
    for word, similar in table.items():
        own = numbers[word]
        size = len(texts[own])
        others = [numbers[text] for text in similar if text != word]
        others = [other for other in others if known[other] and len(texts[other]) == size]
        if known[own] and others:
            entries.setdefault(hashes[own], _Entry(size, {})).similar.update(dict.fromkeys(others))
    return entries, texts


def hashed(ids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """One number for the tokens of each word, in their order: uint64 [W]; empty words give 0."""
    place = ragged_arange(sizes).astype(np.uint64)
    mixed = np.append(mix(ids.astype(np.uint64) + ((place + np.uint64(1)) << np.uint64(40))), np.uint64(0))
    starts = starts_of(sizes)
    return np.where(np.asarray(sizes) > 0, np.add.reduceat(mixed, starts), np.uint64(0))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1."""
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, text.rstrip("\r\n")
    except FileNotFoundError:
        raise DataError(
            "does not exist; name a list of similar words or a file of word vectors with "
            "--similar_words_path.",
            path=path,
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 (byte {error.start}); save it as UTF-8.", path=path) from error


def _listed(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[str, list[str]]]:
    for number, text in lines:
        word, _, rest = text.partition("\t")
        if not word.strip() or not rest.split():
            raise DataError(
                "has not the form word<TAB>similar similar …; mend the line.", path=path, line=number
            )
        yield word.strip(), rest.split()


def _vectors(path: Path, lines: Iterable[tuple[int, str]]) -> tuple[list[str], np.ndarray]:
    """The first words and their vectors [n, D], of length 1."""
    words, vectors = [], []
    for number, text in lines:
        if number == 1 and len(text.split()) == 2:  # the sizes
            continue
        word, *numbers = text.split()
        try:
            vector = np.array(numbers, np.float32)
        except ValueError:
            vector = np.zeros(0)
        if len(vector) < 2 or (vectors and len(vector) != len(vectors[0])) or not np.isfinite(vector).all():
            raise DataError(
                "is neither word<TAB>similar similar … nor a word and its numbers, as many as in the lines "
                "before; mend the line.",
                path=path,
                line=number,
            )
        words.append(word)
        vectors.append(vector)
        if len(words) == WORDS:
            break
    if not words:
        raise DataError("holds no words; give another file with --similar_words_path.", path=path)
    table = np.stack(vectors)
    return words, table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)


def _nearest(words: list[str], vectors: np.ndarray, tokenizer: Tokenizer) -> Iterator[tuple[str, list[str]]]:
    """The nearest words of as many tokens, by cosine."""
    sizes = np.diff(tokenizer.encode_batch(words)[1])
    for size in np.unique(sizes):
        group = np.flatnonzero(sizes == size)
        count = min(NEAREST, len(group) - 1)
        if size == 0 or count == 0:
            continue
        for start in range(0, len(group), BLOCK):
            rows = group[start : start + BLOCK]
            cosines = vectors[rows] @ vectors[group].T
            cosines[np.arange(len(rows)), np.arange(start, start + len(rows))] = -np.inf
            best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
            yield from (
                (words[row], [words[group[place]] for place in near]) for row, near in zip(rows, best)
            )
