"""Which states of the last layer the targets of a model read, where these are few."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uer.encoders.transformer import TransformerEncoder
from uer.layers.layout import Layout, Part
from uer.targets.term import IGNORE

FEW = 0.75
"""share of the tokens up to which the last layer computes those alone that targets read"""


def few_tokens(
    encoder: nn.Module, targets: nn.Module, labels: dict[str, Tensor], layout: Layout
) -> Part | None:
    """The tokens whose last states the targets read, when these are few: the others need none.

    On a CPU only: a GPU would make the host wait to learn which they are.

    Args:
        targets: of the model; those that read no others than labelled and first tokens say `reads_few`.
        labels: those on the token grid are packed.
    """
    if layout.indices.device.type != "cpu" or not isinstance(encoder, TransformerEncoder):
        return None
    if targets.all_layers or not all(getattr(target, "reads_few", False) for target in targets.children()):
        return None
    read = torch.zeros(layout.tokens, dtype=torch.bool)
    read[layout.first] = True
    for name in targets.token_labels:
        if name in labels:
            read |= labels[name] != IGNORE
    tokens = read.nonzero().squeeze(1)
    return layout.only(tokens) if len(tokens) <= FEW * layout.tokens else None
