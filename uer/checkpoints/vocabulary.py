"""Another vocabulary for a trained model: rows of known tokens move, new ones begin as the mean of their
pieces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uer.checkpoints.io import State
from uer.errors import CheckpointError
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.vocab import Vocab

# Tensors with one row a token.
ROWS = re.compile(
    r"(?:\.|^)(?:word\.embedding\.weight|target\.mlm\.linear_2\.(?:weight|bias)"
    r"|target\.mts\.bias\.weight|target\.(?:lm|bilm)\.output_layer\.(?:weight|bias))$"
)
STD = 0.02


@dataclass(frozen=True)
class Plan:
    """Where each row of the new vocabulary comes from.

    Attributes:
        sources: per new token the old rows whose mean it becomes; none: nothing is known about it.
        old: number of rows of the old vocabulary.
        kept: tokens that both vocabularies have.
        pieced: tokens made from pieces.
    """

    sources: list[tuple[int, ...]]
    old: int
    kept: int
    pieced: int

    def line(self) -> str:
        """One line for the log."""
        new = len(self.sources)
        unknown = new - self.kept - self.pieced
        return (
            f"{self.old} tokens become {new}: {self.kept} kept, {self.pieced} new from the mean of their "
            f"pieces, {unknown} new at random, {self.old - self.kept} dropped."
        )


def plan(old: Tokenizer, new: Vocab) -> Plan:
    """Match the tokens of a new vocabulary with the old one; what is new is cut into pieces by the old
    tokenizer.
    """
    sources: list[tuple[int, ...]] = []
    kept = pieced = 0
    for number, token in enumerate(new.tokens):
        rows: tuple[int, ...] = ()
        if token and new.index[token] == number:
            if token in old.vocab:
                rows = (old.vocab.index[token],)
                kept += 1
            else:
                rows = _pieces(old, token)
                pieced += bool(rows)
        sources.append(rows)
    return Plan(sources, len(old.vocab), kept, pieced)


def _pieces(old: Tokenizer, token: str) -> tuple[int, ...]:
    """The ids of the pieces of a token, or none where the old tokenizer does not know all of it."""
    text = old.join_tokens([token]).removeprefix("##")
    ids = old.encode(text) if text.strip() else []
    return () if old.unk_id in ids else tuple(ids)


def adapt(state: State, plan: Plan, seed: int) -> State:
    """The state with every row-per-token tensor cut to the plan; tensors that were equal stay equal.

    Raises:
        CheckpointError: the model has no word embedding of the old vocabulary's size.
    """
    words = state.get("embedding.word.embedding.weight")
    if words is not None and words.shape[0] != plan.old:
        raise CheckpointError(
            f"the model has {words.shape[0]} rows in its word embedding, but --old_vocab_path has {plan.old} "
            "tokens; name the vocabulary that the model was trained with."
        )
    names = [name for name, tensor in state.items() if ROWS.search(name) and tensor.shape[0] == plan.old]
    if not names:
        raise CheckpointError(
            f"the model has no tensor with one row for each of the {plan.old} tokens of --old_vocab_path; "
            "expected embedding.word.embedding.weight."
        )
    out, done = dict(state), {}
    for name in names:
        key = state[name].data_ptr()
        if key not in done:
            done[key] = _rows(state[name], plan.sources, seed)
        out[name] = done[key]
    return out


def renumbered(extra: Mapping[str, Any], old: Vocab, new: Vocab) -> dict[str, Any]:
    """What a companion keeps, with the ids of special tokens (`…_token_id`) in the new vocabulary; those of
    tokens that it lacks are left out.
    """
    out: dict[str, Any] = {}
    for name, value in extra.items():
        if not name.endswith("_token_id"):
            out[name] = value
            continue
        tokens = [old.tokens[number] for number in (value if isinstance(value, list) else [value])]
        ids = [new.index[token] for token in tokens if token in new]
        if ids:
            out[name] = ids if isinstance(value, list) else ids[0]
    return out


def _rows(tensor: Tensor, sources: Sequence[tuple[int, ...]], seed: int) -> Tensor:
    """[V, …] → [V', …]; rows of unknown tokens are N(0, 0.02), entries of a bias 0."""
    out = tensor.new_zeros(len(sources), *tensor.shape[1:])
    if tensor.dim() > 1:
        generator = torch.Generator().manual_seed(seed)
        out.copy_(torch.randn(out.shape, generator=generator) * STD)
    single = [(new, rows[0]) for new, rows in enumerate(sources) if len(rows) == 1]
    if single:
        targets, rows = (torch.tensor(numbers) for numbers in zip(*single))
        out[targets] = tensor[rows]
    for new, pieces in enumerate(sources):
        if len(pieces) > 1:
            out[new] = tensor[list(pieces)].mean(0)
    return out
