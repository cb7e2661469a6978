"""Words in place of another: whose hidden states are nearest to those of the word that stands there.

Shapes: B candidates, L tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from uer.data.readers import read_lines
from uer.errors import DataError
from uer.models.model import Model

if TYPE_CHECKING:
    from uer.tokenizers.base import Tokenizer

Placed = tuple[list[int], list[int], list[int]]
"""ids in front of a word, its own, and those behind it"""


def place(tokenizer: Tokenizer, word: str, sentence: str) -> Placed | None:
    """Where a word stands in a sentence first, as a run of whole tokens; None when it does not."""
    ids, own = tokenizer.encode(sentence), tokenizer.encode(word)
    for start in range(len(ids) - len(own) + 1 if own else 0):
        if ids[start : start + len(own)] == own:
            return ids[:start], own, ids[start + len(own) :]
    before, found, after = sentence.partition(word)
    if not (own and found):
        return None
    return tokenizer.encode(before), own, tokenizer.encode(after)


def read_targets(path: str, tokenizer: Tokenizer, length: int) -> Iterator[tuple[str, str, Placed]]:
    """Word, sentence and place of each line `word<TAB>sentence`; the sentence is cut at `length` ids.

    Raises:
        DataError: another number of columns; the sentence, as far as it is read, lacks the word.
    """
    empty = True
    for number, line in read_lines(path):
        if not line.strip():
            continue
        empty = False
        columns = line.split("\t")
        if len(columns) != 2:
            raise DataError(
                f"the line has {len(columns)} columns; write word<TAB>sentence.", path=path, line=number
            )
        word, sentence = (column.strip() for column in columns)
        found = place(tokenizer, word, sentence)
        if found is None or len(found[0]) + len(found[1]) > length:
            raise DataError(
                f"the sentence does not hold the word '{word}' within --seq_length {length} tokens; "
                "shorten it, or raise --seq_length.",
                path=path,
                line=number,
            )
        yield word, sentence, found
    if empty:
        raise DataError("is empty; write word<TAB>sentence on each line.", path=path)


def read_candidates(path: str, tokenizer: Tokenizer) -> dict[str, list[int]]:
    """The words of a file, one a line, and their ids.

    Raises:
        DataError: the file cannot be read, or no line gives a token.
    """
    words = dict.fromkeys(line.split()[0] for _, line in read_lines(path) if line.strip())
    ids = {word: tokenizer.encode(word) for word in words}
    ids = {word: own for word, own in ids.items() if own}
    if not ids:
        raise DataError("names no word; write one a line.", path=path)
    return ids


@torch.inference_mode()
def word_states(model: Model, rows: Sequence[Placed], *, pad_id: int, length: int) -> Tensor:
    """float32 [B, H]: the mean hidden state of the word's tokens in each row, cut at `length` ids."""
    device = next(model.parameters()).device
    whole = [(before + own + after)[:length] for before, own, after in rows]
    longest = max(map(len, whole))
    src = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids in whole], device=device)
    seg = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in whole], device=device)
    hidden = model.encode({"src": src, "seg": seg}).hidden.float()
    places = torch.arange(longest, device=device)
    starts = torch.tensor([[len(before)] for before, _, _ in rows], device=device)
    ends = torch.tensor([[min(len(before) + len(own), length)] for before, own, _ in rows], device=device)
    of_word = ((places >= starts) & (places < ends)).unsqueeze(2)
    return (hidden * of_word).sum(dim=1) / of_word.sum(dim=1).clamp(min=1)


def replacements(
    model: Model,
    placed: Placed,
    candidates: dict[str, list[int]],
    *,
    pad_id: int,
    length: int,
    batch_size: int,
    count: int,
) -> list[tuple[str, float]]:
    """The `count` candidates whose states in the word's place are nearest to the word's own, with cosines."""
    before, _, after = placed
    common = {"pad_id": pad_id, "length": length}
    state = word_states(model, [placed], **common)
    names, parts = list(candidates), []
    for start in range(0, len(names), batch_size):
        rows = [(before, candidates[name], after) for name in names[start : start + batch_size]]
        parts.append(F.cosine_similarity(word_states(model, rows, **common), state))
    values, places = torch.cat(parts).topk(min(count, len(names)))
    return [(names[number], value) for number, value in zip(places.tolist(), values.tolist())]
