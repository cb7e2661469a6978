"""A model of 31 tokens that fits in one's head, and two rows of text for it."""

from __future__ import annotations

import torch

from uer.config.model import ModelConfig
from uer.targets.term import IGNORE

CONFIG = ModelConfig(
    emb_size=16,
    hidden_size=16,
    heads_num=2,
    feedforward_size=20,
    layers_num=2,
    max_seq_length=12,
    dropout=0.0,
    tie_weights=True,
)
SRC = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 9, 4, 3, 0, 0]])
SEG = (SRC > 0).long()
INPUTS = {"src": SRC, "seg": SEG}
# One hidden token a row.
LABELS = torch.full_like(SRC, IGNORE).index_put((torch.tensor([0, 1]), torch.tensor([2, 2])), torch.tensor(7))
