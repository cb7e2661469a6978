"""ELECTRA's corruption: a small masked language model puts tokens in the place of the hidden ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from uer.layers.layout import Layout
from uer.targets.term import IGNORE, Term

CANDIDATES = 5  # wrong ones beside the right one, from which mts has to choose (Wang et al. 2021)


class Replaced(NamedTuple):
    """What a generator made of a batch, on the packed tokens."""

    term: Term
    """of the generator itself"""
    word: Tensor
    """[N] what the model reads: hidden tokens are replaced by guesses"""
    labels: dict[str, Tensor]
    """"rtd" [N] 1 where a token is another one than in the text, else 0; "mts" [N] the token of the text at
    those places, else -100, and "candidates" [M, 1 + CANDIDATES] for each of them it and wrong ones"""


def replace_tokens(
    generator: torch.nn.Module,
    streams: dict[str, Tensor],
    layout: Layout,
    labels: Tensor,
    *,
    candidates: bool = False,
) -> Replaced:
    """Draw a token for every hidden one from the generator's distribution (Clark et al. 2020, section 2).

    No gradient goes from the model to the generator. What is drawn depends on torch's generator alone.

    Args:
        generator: a `Model` with the target mlm.
        streams: what the generator reads; "word" [N] has hidden tokens.
        labels: [N] the hidden tokens, -100 elsewhere.
        candidates: also draw wrong ones for mts.
    """
    hidden = generator.read(streams, layout).hidden
    term, drawn = generator.target.mlm.guess(hidden, labels, others=CANDIDATES if candidates else 0)
    hides = labels != IGNORE
    text = torch.where(hides, labels, streams["word"])
    word = text.masked_scatter(hides, drawn[:, 0])
    replaced = word != text
    found = {"rtd": replaced.long()}
    if candidates:
        found["mts"] = torch.where(replaced, text, IGNORE)
        found["candidates"] = torch.cat([labels[hides][:, None], drawn[:, 1:]], dim=1)[replaced[hides]]
    return Replaced(term, word, found)
