"""Continue texts: one token after the other, drawn, or by beam search.

Shapes: B rows, V vocabulary, P prompts, K beams.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from uer.config.generation import DecodingOptions
from uer.generation.sampling import FORBIDDEN, Draw, Rules

Met = Callable[[Sequence[int]], bool]
"""whether the newest token of a continuation ends it"""


class Reader(Protocol):
    """A model part-way through B texts (`uer.generation.reading`)."""

    device: torch.device

    def start(self) -> Tensor:
        """Read the prompts → logits [B, V]."""

    def step(self, ids: Tensor) -> Tensor:
        """Read ids [B] → logits [B, V]."""

    def keep(self, rows: Tensor) -> None:
        """Keep the rows `rows`."""


@dataclass
class Continuation:
    """What was generated behind one prompt."""

    ids: list[int] = field(default_factory=list)
    """the new tokens, with the one that ended the text"""
    log_probs: list[float] = field(default_factory=list)
    """of each token under the model itself, whatever the rules and the drawing; empty unless asked for"""
    stopped: bool = False
    """ended by a stop string, not by its length"""
    score: float | None = None
    """by which beams were compared"""

    def extend(self, token: int, chance: float | None, *, shortest: int, limit: int, met: Met) -> bool:
        """Append a token (and its log probability); whether the text ends with it.

        Args:
            shortest: new tokens that a text has at least. limit: and at most.
        """
        self.ids.append(token)
        if chance is not None:
            self.log_probs.append(chance)
        self.stopped = len(self.ids) > shortest and met(self.ids)
        return self.stopped or len(self.ids) >= limit


Show = Callable[[Continuation], None]
"""called after each new token, for whoever shows a text while it grows"""


def draw(
    reader: Reader,
    rules: Rules,
    chooser: Draw,
    *,
    copies: int,
    limits: Sequence[int],
    met: Met,
    log_probs: bool = False,
    show: Show | None = None,
) -> list[Continuation]:
    """Draw token after token.

    Args:
        reader: over the prompts; each is continued `copies` times, rows in the order of the prompts.
        rules, chooser: for the rows (prompts times copies).
        limits: most new tokens of each row.
        met: see `Met`; not asked before the shortest length is reached.
        log_probs: record them.
        show: see `Show`.

    Returns:
        one continuation a row.
    """
    logits = reader.start()
    if copies > 1:
        rows = torch.arange(len(logits), device=reader.device).repeat_interleave(copies)
        reader.keep(rows)
        logits = logits[rows]
    every = [Continuation() for _ in limits]
    live = list(range(len(every)))  # the row of `every` behind each row that the reader still holds
    open_rows = set(live)
    shortest = rules.options.min_new_tokens
    while True:
        ids = chooser.choose(rules.checked(rules.apply(logits)))
        rules.append(ids)
        chances = _log_probs(logits, ids) if log_probs else [None] * len(ids)
        for place, token in enumerate(ids.tolist()):
            row = live[place]
            if row not in open_rows:
                continue
            ended = every[row].extend(token, chances[place], shortest=shortest, limit=limits[row], met=met)
            if ended:
                open_rows.discard(row)
            if show is not None:
                show(every[row])
        if not open_rows:
            return every
        # Taking finished rows out copies what the caches hold, so it waits until that pays, or until such a
        # row might run out of tokens.
        if len(open_rows) <= len(live) // 2 or (rules.may_forbid_all and len(open_rows) < len(live)):
            places = [place for place, row in enumerate(live) if row in open_rows]
            live = [live[place] for place in places]
            kept = torch.tensor(places, device=ids.device)
            reader.keep(kept)
            rules.keep(kept)
            chooser.keep(places)
            ids = ids[kept]
        logits = reader.step(ids)


def _log_probs(logits: Tensor, ids: Tensor) -> list[float]:
    """Of the ids [B] under the logits [B, V]."""
    return logits.float().log_softmax(dim=-1).gather(1, ids[:, None])[:, 0].tolist()


class Beams:
    """The beams of one prompt (as Hugging Face's `generate` keeps them, with early stopping off).

    Each step offers the likeliest extensions of the K open beams. Among the first K of them those that end a
    text compete by score / length^penalty for K places of finished texts; the K likeliest others go on. The
    search ends when no open beam, at its present length, would beat the worst of K finished ones.
    """

    def __init__(self, size: int, length_penalty: float, limit: int) -> None:
        self.size, self.length_penalty, self.limit = size, length_penalty, limit
        self.open: list[Continuation] = [Continuation(score=0.0)]
        self.finished: list[Continuation] = []
        self.done = False

    def advance(self, scores: list[float], parents: list[int], tokens: list[int], met: Met) -> list[int]:
        """Take the likeliest extensions, best first; return the beam that each open one continues.

        Args:
            scores: summed log-probability of each extension.
            parents: the beam that each extends.
            tokens: by which token.
        """
        offers = []
        for score, parent, token in zip(scores, parents, tokens):
            if score == FORBIDDEN:
                break
            text = Continuation([*self.open[parent].ids, token], score=score)
            text.stopped = met(text.ids)
            offers.append((text, parent))
        ends = [text.stopped or len(text.ids) >= self.limit for text, _ in offers]
        for (text, _), ended in list(zip(offers, ends))[: self.size]:
            if ended:
                self.finished.append(
                    Continuation(
                        text.ids,
                        stopped=text.stopped,
                        score=text.score / len(text.ids) ** self.length_penalty,
                    )
                )
        self.finished = heapq.nlargest(self.size, self.finished, key=lambda text: text.score)
        going = [offer for offer, ended in zip(offers, ends) if not ended][: self.size]
        self.open = [text for text, _ in going]
        self.done = not going or not self._may_improve()
        return [parent for _, parent in going]

    def _may_improve(self) -> bool:
        if len(self.finished) < self.size:
            return True
        best = self.open[0]
        return best.score / len(best.ids) ** self.length_penalty > self.finished[-1].score


def beam_search(
    reader: Reader, rules: Rules, *, limits: Sequence[int], met: Met, options: DecodingOptions
) -> list[list[Continuation]]:
    """The `samples_num` best continuations of each prompt, best first.

    Args:
        reader, rules: over the prompts.
        limits: most new tokens of each prompt.
        met: see `Met`.
    """
    size, offered = options.beam_size, options.beam_size * max(2, 1 + len(rules.end_ids))
    every = [Beams(size, options.length_penalty, limit) for limit in limits]
    live = list(every)
    logits = reader.start()
    shortest = options.min_new_tokens

    def met_late(ids: Sequence[int]) -> bool:
        """`met`, of texts longer than the shortest."""
        return len(ids) > shortest and met(ids)

    while True:
        log_probs = rules.apply(logits.float().log_softmax(dim=-1))  # the open beams of all live prompts
        counts = [len(beams.open) for beams in live]
        rows, tokens, offset = [], [], 0
        for beams, part in zip(live, log_probs.split(counts)):
            part = part + torch.tensor([[text.score] for text in beams.open], device=part.device)
            scores, places = part.flatten().topk(min(offered, part.numel()))
            parents = (places // part.shape[1]).tolist()
            parents = beams.advance(scores.tolist(), parents, (places % part.shape[1]).tolist(), met_late)
            if not parents and not beams.finished:
                rules.checked(part)
            if not beams.done:
                rows += [offset + parent for parent in parents]
                tokens += [text.ids[-1] for text in beams.open]
            offset += len(part)
        live = [beams for beams in live if not beams.done]
        if not live:
            return [beams.finished[: options.samples_num] for beams in every]
        kept, ids = torch.tensor(rows, device=reader.device), torch.tensor(tokens, device=reader.device)
        if rows != list(range(len(logits))):
            reader.keep(kept)
            rules.keep(kept)
        rules.append(ids)
        logits = reader.step(ids)
