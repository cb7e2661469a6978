"""Blanks in a text filled by a masked language model, with the probability of each answer.

Shapes: B rows, L tokens, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from uer.config.model import ModelConfig
from uer.errors import ConfigError, DataError
from uer.models.model import Model

if TYPE_CHECKING:
    from uer.tokenizers.base import Tokenizer

MASK = "[MASK]"  # how a person writes a blank, whatever the vocabulary calls it
Answer = tuple[str, float]
"""a token and its probability"""


def masked_language_model(config: ModelConfig, *, described: bool) -> ModelConfig:
    """The configuration with mlm as its only target.

    Args:
        described: the saved model or the user names the targets; otherwise mlm is what is meant.

    Raises:
        ConfigError: the model was not trained to fill blanks.
    """
    if described and "mlm" not in config.target:
        raise ConfigError(
            f"--target is {' '.join(config.target) or 'none'}: the model has no head that fills blanks; "
            "one is trained with --target mlm (or bert, albert)."
        )
    if config.decoder is not None:
        raise ConfigError("the model has a --decoder; blanks are filled by an encoder with --target mlm.")
    return config.replace(target=("mlm",))


@dataclass(frozen=True)
class Blanked:
    """A text with blanks."""

    ids: list[int]
    """`[CLS] text [SEP]`, the mask token at each blank"""
    places: list[int]
    """where the blanks are"""
    answer: int | None = None
    """the token that was there, when it is known"""


def with_blanks(tokenizer: Tokenizer, text: str, length: int) -> Blanked:
    """A text in which the user wrote `[MASK]`, cut at `length` ids.

    Raises:
        DataError: no blank is left.
    """
    ids = [tokenizer.cls_id]
    for number, part in enumerate(text.split(MASK)):
        ids += ([tokenizer.mask_id] if number else []) + tokenizer.encode(part)
    ids = [*ids, tokenizer.sep_id][:length]
    places = [place for place, number in enumerate(ids) if number == tokenizer.mask_id]
    if not places:
        raise DataError(
            f"the text has no {MASK} within its first {length} tokens; write one where a token is to be "
            "guessed."
        )
    return Blanked(ids, places)


def blank_one(tokenizer: Tokenizer, text: str, length: int, draw: random.Random) -> Blanked | None:
    """A text with one of its tokens masked at random; None when it has no token."""
    ids = [tokenizer.cls_id, *tokenizer.encode(text)][: length - 1]
    if len(ids) < 2:
        return None
    place = draw.randrange(1, len(ids))
    answer = ids[place]
    ids[place] = tokenizer.mask_id
    return Blanked([*ids, tokenizer.sep_id], [place], answer)


@torch.inference_mode()
def fill(
    model: Model, tokenizer: Tokenizer, texts: Sequence[Blanked], *, topn: int, batch_size: int = 64
) -> Iterator[list[list[Answer]]]:
    """For each text and each of its blanks the `topn` likeliest tokens, best first.

    Args:
        model: with an mlm target, in evaluation mode.
    """
    device = next(model.parameters()).device
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        length = max(len(text.ids) for text in batch)
        rows = [text.ids + [tokenizer.pad_id] * (length - len(text.ids)) for text in batch]
        seg = [[1] * len(text.ids) + [0] * (length - len(text.ids)) for text in batch]
        hidden = model.encode(
            {"src": torch.tensor(rows, device=device), "seg": torch.tensor(seg, device=device)}
        ).hidden
        where = [(row, place) for row, text in enumerate(batch) for place in text.places]
        row_of, place_of = torch.tensor(where, device=device).T
        chances = model.target.mlm.logits(hidden[row_of, place_of]).float().softmax(dim=-1)
        best = chances.topk(min(topn, chances.shape[1]), dim=1)
        answers = [
            list(zip(tokenizer.convert_ids_to_tokens(ids), values))
            for ids, values in zip(best.indices.tolist(), best.values.tolist())
        ]
        found = iter(answers)
        for text in batch:
            yield [next(found) for _ in text.places]
