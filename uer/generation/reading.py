"""A model part-way through some texts: it reads what is there once, then one token of each at a time.

Shapes: B rows, L tokens of the longest prompt, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uer.config.model import ModelConfig
from uer.embeddings.parts import positions_limit
from uer.errors import ConfigError
from uer.models.model import Model


def language_model(config: ModelConfig, *, described: bool) -> ModelConfig:
    """The configuration with lm as its only target.

    Args:
        described: the saved model or the user names the targets; otherwise lm is what is meant.

    Raises:
        ConfigError: the targets lack lm, or the encoder sees what comes later.
    """
    if described and "lm" not in config.target:
        raise ConfigError(
            f"--target is {' '.join(config.target)}, which is no language model; "
            "one is trained with --target lm."
        )
    if config.decoder is None and config.encoder == "transformer" and config.mask == "fully_visible":
        raise ConfigError(
            "--mask is fully_visible: every token sees those that come later, so none can be predicted; "
            "a language model has --mask causal (or causal_with_prefix)."
        )
    return config.replace(target=("lm",))


def check_length(model: Model, length: int) -> None:
    """Raise unless the model can read texts of `length` tokens.

    Raises:
        ConfigError: its table of positions is shorter.
    """
    limit = positions_limit(model.embedding if model.decoder is None else model.tgt_embedding)
    if limit is not None and length > limit:
        flag = "--seq_length" if model.decoder is None else "--tgt_seq_length"
        raise ConfigError(f"{flag} is {length}, but the model has {limit} positions; give at most {limit}.")


def padded_left(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and 1/0 for real or padding, both [B, L]; the shorter rows begin later."""
    length = max(map(len, rows))
    ids = torch.tensor([[pad] * (length - len(row)) + list(row) for row in rows])
    real = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return ids, real


class CausalReader:
    """An encoder with a causal mask over prompts padded on the left.

    The prompts are segment 1. What is generated is segment 1 too, or 2 under `causal_with_prefix`.

    Args:
        prompts: the ids of each prompt, at least one.
        room: positions to set aside for prompt and continuation together.
    """

    def __init__(self, model: Model, prompts: Sequence[Sequence[int]], *, room: int, pad_id: int) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.caches = model.encoder.make_caches(room)
        self.ids, self.real = padded_left(prompts, pad_id)
        self.segment = 2 if model.config.mask == "causal_with_prefix" else 1
        self.position: Tensor | None = None
        # A text that has ended stays among those that grow for a while: it must not count beyond the table.
        limit = positions_limit(model.embedding)
        self.last = limit - 1 if limit is not None and room > limit else None

    def start(self) -> Tensor:
        """Read the prompts; the logits [B, V] of the first token after each."""
        positions = (self.real.cumsum(dim=1) - 1).clamp_(min=0)
        self.position = positions[:, -1:].to(self.device)
        return self._read(self.ids.to(self.device), self.real.to(self.device), positions.to(self.device))

    def step(self, ids: Tensor) -> Tensor:
        """Read one more token of each row, ids [B]; the logits [B, V] of the one after it."""
        self.position = self.position + 1
        if self.last is not None:
            self.position.clamp_(max=self.last)
        ids = ids[:, None]
        return self._read(ids, torch.full_like(ids, self.segment), self.position)

    def _read(self, ids: Tensor, seg: Tensor, positions: Tensor) -> Tensor:
        # Lengths were checked once (`check_length`), so the parts are called without `Model.encode`.
        hidden = self.model.embedding({"word": ids, "seg": seg, "pos": positions})
        hidden = self.model.encoder(hidden, seg, caches=self.caches).hidden
        return self.model.target.lm.logits(hidden[:, -1])

    def keep(self, rows: Tensor) -> None:
        """Keep the rows `rows` [B'], in that order; one may come several times."""
        self.caches.reorder(rows)
        self.position = self.position[rows]


class PairReader:
    """A decoder over sources that the encoder has read.

    Args:
        sources: the ids of each source.
        start_id: the token that every target begins with.
        room: positions to set aside for the target.
    """

    def __init__(
        self, model: Model, sources: Sequence[Sequence[int]], *, room: int, pad_id: int, start_id: int
    ) -> None:
        self.model, self.start_id = model, start_id
        self.device = next(model.parameters()).device
        self.caches = model.decoder.make_caches(room)
        length = max(map(len, sources))
        rows = [list(row) + [pad_id] * (length - len(row)) for row in sources]
        self.ids = torch.tensor(rows, device=self.device)
        seg = [[1] * len(row) + [0] * (length - len(row)) for row in sources]
        self.memory_seg = torch.tensor(seg, device=self.device)
        self.memory: Tensor | None = None
        self.position = torch.zeros(len(sources), 1, dtype=torch.long, device=self.device)

    def start(self) -> Tensor:
        """Read the sources; the logits [B, V] of the first token of each target."""
        self.memory = self.model.encode({"src": self.ids, "seg": self.memory_seg}).hidden
        return self._read(torch.full_like(self.position, self.start_id))

    def step(self, ids: Tensor) -> Tensor:
        """Read one more token of each row, ids [B]; the logits [B, V] of the one after it."""
        self.position = self.position + 1
        return self._read(ids[:, None])

    def _read(self, ids: Tensor) -> Tensor:
        inputs = {"tgt_in": ids, "tgt_seg": torch.ones_like(ids), "tgt_pos": self.position}
        out = self.model.decode(inputs, self.memory, self.memory_seg, caches=self.caches)
        return self.model.target.lm.logits(out.hidden[:, -1])

    def keep(self, rows: Tensor) -> None:
        """Keep the rows `rows` [B'], in that order; one may come several times."""
        self.caches.reorder(rows)
        self.position = self.position[rows]
        self.memory, self.memory_seg = self.memory[rows], self.memory_seg[rows]
