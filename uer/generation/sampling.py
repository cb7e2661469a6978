"""From logits to the next token: rules that change logits, and the draw among what they leave.

Shapes: B rows, V vocabulary, T tokens of a row so far.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from uer.config.generation import DecodingOptions
from uer.errors import ConfigError

FORBIDDEN = -math.inf
LIKELIEST = 512  # tokens looked at before a whole vocabulary is sorted
NO_TOKEN = -1  # stands in histories in front of shorter rows


class Rules:
    """What the text so far does to the logits: penalties, bans, the shortest length.

    Args:
        options: which rules.
        histories: the ids of each row so far, prompt included.
        vocab_size: V.
        end_ids: tokens that end a text, banned before `min_new_tokens`.
        allowed: ids that may come; None for all. Those that end a text may always come.
    """

    def __init__(
        self,
        options: DecodingOptions,
        histories: Sequence[Sequence[int]],
        *,
        vocab_size: int,
        end_ids: Iterable[int] = (),
        allowed: Iterable[int] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.options, self.end_ids, self.steps = options, sorted(end_ids), 0
        self.history = self.seen = self.banned = None
        if options.no_repeat_ngram_size:
            self.history = _padded_left(histories).to(device)
        if options.repetition_penalty != 1:
            self.seen = torch.zeros(len(histories), vocab_size, dtype=torch.bool)
            for row, ids in enumerate(histories):
                self.seen[row, torch.as_tensor(ids, dtype=torch.long)] = True
            self.seen = self.seen.to(device)
        if allowed is not None:
            self.banned = torch.ones(vocab_size, dtype=torch.bool, device=device)
            self.banned[torch.as_tensor(sorted({*allowed, *self.end_ids}), dtype=torch.long)] = False

    def apply(self, logits: Tensor) -> Tensor:
        """Logits (or log-probabilities) [B, V] → the same with the rules applied."""
        penalty = self.options.repetition_penalty
        if self.seen is not None:
            logits = torch.where(
                self.seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits
            )
        if self.history is not None:
            logits = ban_repeated_ngrams(logits, self.history, self.options.no_repeat_ngram_size)
        if self.end_ids and self.steps < self.options.min_new_tokens:
            logits = logits.clone()
            logits[:, self.end_ids] = FORBIDDEN
        if self.banned is not None:
            logits = logits.masked_fill(self.banned, FORBIDDEN)
        return logits

    @property
    def may_forbid_all(self) -> bool:
        """Whether a row may be left without a token."""
        return self.banned is not None or self.history is not None

    def checked(self, ruled: Tensor) -> Tensor:
        """The same logits, in each row of which a token is left.

        Args:
            ruled: logits [B, V], rules applied.

        Raises:
            ConfigError: the rules forbid every token.
        """
        if self.may_forbid_all and ruled.amax(dim=1).isneginf().any():
            raise ConfigError(
                f"after {self.steps} tokens --no_repeat_ngram_size and --allowed_tokens_path leave no token "
                "to choose; raise the size, allow more tokens or lower --seq_length."
            )
        return ruled

    def append(self, ids: Tensor) -> None:
        """Each row grew by one token, ids [B]."""
        self.steps += 1
        if self.history is not None:
            self.history = torch.cat([self.history, ids[:, None]], dim=1)
        if self.seen is not None:
            self.seen.scatter_(1, ids[:, None], True)

    def keep(self, rows: Tensor) -> None:
        """Keep the rows `rows` [B'], in that order."""
        if self.history is not None:
            self.history = self.history[rows]
        if self.seen is not None:
            self.seen = self.seen[rows]


def _padded_left(histories: Sequence[Sequence[int]]) -> Tensor:
    length = max(map(len, histories))
    return torch.tensor([[NO_TOKEN] * (length - len(ids)) + list(ids) for ids in histories])


def ban_repeated_ngrams(logits: Tensor, history: Tensor, size: int) -> Tensor:
    """Forbid each token that would complete a sequence of `size` tokens which the row holds already.

    Args:
        logits: [B, V]. history: [B, T], -1 in front of shorter rows.
    """
    if history.shape[1] < size:
        return logits
    windows = history.unfold(1, size, 1)  # [B, T - size + 1, size]
    tail = history[:, history.shape[1] - size + 1 :]
    repeats = (windows[..., :-1] == tail[:, None]).all(dim=-1) & (windows[..., 0] != NO_TOKEN)
    rows, places = repeats.nonzero(as_tuple=True)
    logits = logits.clone()
    logits[rows, windows[rows, places, -1]] = FORBIDDEN
    return logits


def candidates(logits: Tensor, options: DecodingOptions) -> tuple[Tensor, Tensor | None]:
    """What may be drawn, and how likely: temperature, then top-k, then top-p, then min-p.

    Args:
        logits: [B, V], rules applied.

    Returns:
        probabilities [B, C] in fp64, 0 for what is left out, not summing to 1 when something is;
        and the ids [B, C] behind them, or None when they are 0 … V-1.
    """
    scores, ids = logits.float() / options.temperature, None
    few = 0 < options.top_k < scores.shape[-1]
    if few:
        scores, ids = scores.topk(options.top_k, dim=-1)
    chances = scores.double().softmax(dim=-1)
    if options.top_p:
        if not few:
            chances, ids = _descending(chances, options.top_p)
        # A token stays while those before it do not exceed p together, so the first always does
        # (Holtzman et al. 2020).
        before = chances.cumsum(dim=-1) - chances
        chances = chances.masked_fill(before > options.top_p, 0)
    if options.min_p:
        least = options.min_p * chances.amax(dim=-1, keepdim=True)
        chances = chances.masked_fill(chances < least, 0)
    return chances, ids


def _descending(chances: Tensor, enough: float) -> tuple[Tensor, Tensor]:
    """The likeliest tokens and their ids, [B, C] each: those that hold more than `enough`, or all."""
    top, ids = chances.topk(min(LIKELIEST, chances.shape[-1]), dim=-1)
    if bool((top.sum(dim=-1) > enough).all()):
        return top, ids
    return chances.sort(dim=-1, descending=True)


class Draw:
    """Draws tokens; each row has a stream of random numbers of its own, so a batch does not change a text.

    Args:
        seeds: what each row's stream depends on.
    """

    def __init__(self, options: DecodingOptions, seeds: Sequence[tuple[int, ...]]) -> None:
        self.options = options
        self.streams = [random.Random("-".join(map(str, seed))) for seed in seeds]

    def choose(self, logits: Tensor) -> Tensor:
        """Logits [B, V], rules applied → ids [B]."""
        if self.options.top_k == 1:
            return logits.argmax(dim=-1)
        chances, ids = candidates(logits, self.options)
        below = chances.cumsum(dim=-1)
        total = below[:, -1:]
        drawn = torch.tensor([[stream.random()] for stream in self.streams], dtype=total.dtype)
        # Never the whole sum itself, behind which no token lies.
        point = torch.minimum(drawn.to(total.device) * total, total.nextafter(torch.zeros_like(total)))
        place = torch.searchsorted(below, point, right=True)
        return (place if ids is None else ids.gather(1, place)).squeeze(1)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows' streams, in that order."""
        self.streams = [self.streams[row] for row in rows]
