"""The table of word vectors of a model, with the words behind its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from uer.checkpoints.companion import read_companion
from uer.checkpoints.io import check_exists
from uer.checkpoints.source import read_source
from uer.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from uer.tokenizers.base import Tokenizer

TABLE = r"embedding.word.embedding.weight"
ROWS_AT_A_TIME = 4096  # of a similarity matrix


def model_tokenizer(path: str, vocab_path: str | None, spm_model_path: str | None) -> Tokenizer:
    """The tokenizer of a model: the named files', else its companion's.

    Raises:
        CheckpointError: there is no model.
        ConfigError: nothing is named, and the model brings none.
    """
    from uer.tokenizers import build_tokenizer, load_tokenizer

    if vocab_path or spm_model_path:
        return build_tokenizer("bert", vocab_path=vocab_path, spm_model_path=spm_model_path)
    companion = read_companion(path)
    if companion is None or companion.tokenizer is None:
        check_exists(path, "--load_model_path")
        raise ConfigError(
            f"{path} has no companion folder that brings its vocabulary; name it with --vocab_path or "
            "--spm_model_path."
        )
    return load_tokenizer(companion.tokenizer)


def word_table(path: str, size: int, flag: str = "--load_model_path") -> Tensor:
    """float32 [V, E], the word vectors of a file or a Hugging Face folder.

    Args:
        size: V, tokens of the vocabulary.

    Raises:
        CheckpointError: the file holds no such table, or one of another number of rows.
    """
    state = read_source(path, flag=flag).state
    if TABLE not in state:
        raise CheckpointError(
            f"{path} holds no word vectors under the name {TABLE}; name a model of one text stream with "
            f"{flag}."
        )
    table = state[TABLE].float()
    if table.shape[0] != size:
        raise CheckpointError(
            f"{path} has {table.shape[0]} word vectors and the vocabulary {size} tokens; name the model's "
            "own vocabulary with --vocab_path or --spm_model_path."
        )
    return table


def word2vec_lines(tokens: Sequence[str], table: Tensor) -> Iterator[str]:
    """word2vec's text format: `V E`, then `word v1 … vE` in full precision.

    A blank token, which would leave its line without a word, is written as `<blank ID>` without the space.
    """
    yield f"{table.shape[0]} {table.shape[1]}\n"
    for number, token in enumerate(tokens):
        word = "".join(token.split()) or f"<blank{number}>"
        yield f"{word} {' '.join(map(str, table[number].tolist()))}\n"


def nearest(queries: Tensor, table: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cosines and rows [Q, count] of the vectors of `table` [V, E] nearest to `queries` [Q, E], best first.

    A vector of zeros has the cosine 0 with every other.
    """
    lengths = table.norm(dim=1).clamp_(min=1e-12)
    found = []
    for part in queries.split(ROWS_AT_A_TIME):
        own = part.norm(dim=1, keepdim=True).clamp_(min=1e-12)
        found.append((part @ table.T).div_(own).div_(lengths).topk(min(count, len(table)), dim=1))
    return torch.cat([best.values for best in found]), torch.cat([best.indices for best in found])
