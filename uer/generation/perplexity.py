"""How well a language model predicts a text: perplexity a token, bits a character.

Long documents are read through a window that moves on by a stride; each token is scored once, in the first
window that holds it, so all but the first few have at least `length - stride` tokens of context.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from uer.data.batch import IGNORE
from uer.data.readers import read_lines
from uer.errors import DataError
from uer.models.model import Model
from uer.tokenizers.base import Tokenizer

LINES_AT_A_TIME = 512


@dataclass
class Score:
    """Sums over a text."""

    nats: float = 0.0
    """−log probability of all tokens"""
    tokens: int = 0
    characters: int = 0
    bytes: int = 0
    unknown: int = 0
    """tokens among them that the vocabulary lacks, behind which characters are lost"""

    @property
    def perplexity(self) -> float:
        """exp of the mean −log probability of a token."""
        return math.exp(self.nats / self.tokens)

    @property
    def bits_per_character(self) -> float:
        """Comparable between models of different vocabularies, as long as none has unknown tokens."""
        return self.nats / math.log(2) / self.characters

    @property
    def bits_per_byte(self) -> float:
        """As `bits_per_character`, of the UTF-8 text."""
        return self.nats / math.log(2) / self.bytes


def windows(ids: np.ndarray, length: int, stride: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and labels [≤ length] of each window over ids [n]; every id but the first is a label once."""
    scored = 1  # ids[:scored] have been labels, or never are
    for start in range(0, len(ids), stride):
        labels = ids[start + 1 : start + length + 1].copy()
        end = start + 1 + len(labels)
        labels[: scored - start - 1] = IGNORE
        yield ids[start : end - 1], labels
        scored = end
        if end >= len(ids):
            return


def documents(path: str | Path, tokenizer: Tokenizer, score: Score) -> Iterator[np.ndarray]:
    """Each line that holds a token, behind what its tokenizer begins texts with (`Tokenizer.opening`); counts
    characters and unknown tokens into `score`. Where texts begin with nothing, the first token is not scored.
    """
    lines, opening = (line for _, line in read_lines(path)), tokenizer.opening
    while texts := list(islice(lines, LINES_AT_A_TIME)):
        ids, offsets = tokenizer.encode_batch(texts)
        score.unknown += int((ids == tokenizer.unk_id).sum())
        for text, begin, end in zip(texts, offsets[:-1], offsets[1:]):
            if begin + (not opening) < end:
                score.characters += len(text)
                score.bytes += len(text.encode("utf-8"))
                yield np.concatenate((np.array(opening, np.int64), ids[begin:end])).astype(np.int64)


@torch.inference_mode()
def evaluate(
    model: Model, tokenizer: Tokenizer, path: str | Path, *, length: int, stride: int, batch_size: int
) -> Score:
    """Score a file, one document a line.

    Args:
        model: with an lm target, in evaluation mode.
        length: tokens of a window. stride: by how many it moves on, less than `length`.
        batch_size: windows at a time.

    Raises:
        DataError: the file cannot be read, or holds no text.
    """
    score = Score()
    every = (window for ids in documents(path, tokenizer, score) for window in windows(ids, length, stride))
    while batch := list(islice(every, batch_size)):
        inputs, labels = _collate(batch, tokenizer.pad_id, model)
        term = model(inputs, labels)["lm"]
        score.nats += float(term.loss_sum)
        score.tokens += int(term.count)
    if not score.tokens:
        raise DataError("holds no text; write one document a line.", path=path)
    return score


def _collate(
    batch: Iterable[tuple[np.ndarray, np.ndarray]], pad_id: int, model: Model
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Rows padded on the right. Under `causal_with_prefix` the first token alone is the prefix."""
    batch = list(batch)
    device = next(model.parameters()).device
    shape = (len(batch), max(len(ids) for ids, _ in batch))
    src, seg = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64)
    labels = np.full(shape, IGNORE, np.int64)
    for row, (ids, wanted) in enumerate(batch):
        src[row, : len(ids)], labels[row, : len(ids)], seg[row, : len(ids)] = ids, wanted, 1
        if model.config.mask == "causal_with_prefix":
            seg[row, 1 : len(ids)] = 2
    inputs = {"src": torch.from_numpy(src).to(device), "seg": torch.from_numpy(seg).to(device)}
    return inputs, {"lm": torch.from_numpy(labels).to(device)}
