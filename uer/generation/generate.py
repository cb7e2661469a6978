"""Prompts in, continuations out: batches, lengths, rules and stopping put together."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from uer.config.generation import DecodingOptions
from uer.errors import ConfigError
from uer.generation.reading import CausalReader, PairReader, check_length
from uer.generation.sampling import Draw, Rules
from uer.generation.search import Continuation, Show, beam_search, draw
from uer.generation.stopping import Stopping
from uer.models.model import Model
from uer.tokenizers.base import Tokenizer
from uer.utils.logging import logger


@dataclass(frozen=True)
class Generated:
    """One text behind one prompt."""

    ids: list[int]
    """the new tokens that lie wholly in the text, without what ended it"""
    text: str
    """readable, special tokens left out"""
    rest: str
    """the end of `text` that is part of a token only (a stop string began within it)"""
    stopped: bool
    """ended by a stop string, not by its length"""
    log_probs: list[float] | None
    """of each token of `ids` under the model, when asked for"""
    score: float | None
    """summed log-probability / length^penalty, of beam search"""


SORTED_TOGETHER = 1024  # prompts among which those of like length are looked for


class Generator:
    """Continues prompts with a model.

    Args:
        model: with an lm target, in evaluation mode; with a decoder the prompts are sources.
        tokenizer: of what is generated.
        options: how.
        length: most tokens of a text, with the prompt ([CLS] alone with a decoder).
        batch_size: texts at a time.
        allowed: ids that may come; None for all.
        log_probs: record the log-probability of each token.

    Raises:
        ConfigError: the model has not so many positions.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        options: DecodingOptions,
        *,
        length: int,
        batch_size: int = 64,
        allowed: Sequence[int] | None = None,
        log_probs: bool = False,
    ) -> None:
        check_length(model, length)
        self.model, self.tokenizer, self.options = model, tokenizer, options
        self.length, self.allowed, self.log_probs = length, allowed, log_probs
        # No more rows at a time than `batch_size`, whatever the copies.
        self.prompts_at_a_time = max(1, batch_size // options.copies)
        self.stopping = Stopping(tokenizer, options.stop)
        self.seed = options.seed
        if self.seed is None:
            self.seed = random.SystemRandom().randrange(2**31)
            if options.top_k != 1 and options.beam_size == 1:
                logger.info(f"--seed {self.seed} repeats this drawing.")

    def room(self, prompt: Sequence[int]) -> int:
        """Tokens that may be generated behind a prompt."""
        taken = len(prompt) if self.model.decoder is None else 1
        return min(self.length - taken, self.options.max_new_tokens or self.length)

    def __call__(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[Generated]]:
        """The texts of each prompt, in the order of the prompts; those of like length share a batch.

        Args:
            prompts: ids; each must leave `room`.
        """
        size = self.prompts_at_a_time
        for window in _parts(range(len(prompts)), max(size, SORTED_TOGETHER)):
            done: dict[int, list[Generated]] = {}
            for numbers in _parts(sorted(window, key=lambda number: len(prompts[number])), size):
                done.update(zip(numbers, self._batch(numbers, [prompts[n] for n in numbers])))
            yield from (done[number] for number in window)

    def shown(self, prompts: Sequence[Sequence[int]], show: Show) -> Iterator[list[Generated]]:
        """As calling it, one prompt after the other, each shown while it grows.

        Raises:
            ConfigError: several texts would grow at a time.
        """
        for name in ("beam_size", "samples_num"):
            value = getattr(self.options, name)
            if value > 1:
                raise ConfigError(
                    f"--stream shows one text as it grows, --{name} {value} makes several at a time; "
                    "leave one of them out."
                )
        for number, prompt in enumerate(prompts):
            yield self._batch([number], [prompt], show)[0]

    @torch.inference_mode()
    def _batch(
        self, numbers: Sequence[int], prompts: list[Sequence[int]], show: Show | None = None
    ) -> list[list[Generated]]:
        """The texts of some prompts; `numbers` are their places among all prompts."""
        options, limits = self.options, [self.room(prompt) for prompt in prompts]
        reader = self._reader(prompts, max(limits))
        copies = 1 if options.beam_size > 1 else options.samples_num
        rules = self._rules([prompt for prompt in prompts for _ in range(copies)], reader.device)
        if options.beam_size > 1:
            found = beam_search(reader, rules, limits=limits, met=self.stopping.met, options=options)
            return [[self._cut(text) for text in texts] for texts in found]
        seeds = [(self.seed, number, copy) for number in numbers for copy in range(copies)]
        drawn = draw(
            reader,
            rules,
            Draw(options, seeds),
            copies=copies,
            limits=[limit for limit in limits for _ in range(copies)],
            met=self.stopping.met,
            log_probs=self.log_probs,
            show=show,
        )
        texts = [self._cut(text) for text in drawn]
        return [texts[place : place + copies] for place in range(0, len(texts), copies)]

    def _reader(self, prompts: list[Sequence[int]], longest: int) -> CausalReader | PairReader:
        pad = self.tokenizer.pad_id
        if self.model.decoder is None:
            return CausalReader(self.model, prompts, room=max(map(len, prompts)) + longest, pad_id=pad)
        start = self.tokenizer.frame.start
        return PairReader(self.model, prompts, room=longest + 1, pad_id=pad, start_id=start)

    def _rules(self, prompts: list[Sequence[int]], device: torch.device) -> Rules:
        start = [self.tokenizer.frame.start]
        return Rules(
            self.options,
            prompts if self.model.decoder is None else [start] * len(prompts),
            vocab_size=self.model.target.lm.output_layer.out_features,
            end_ids=self.stopping.ids,
            allowed=self.allowed,
            device=device,
        )

    def _cut(self, text: Continuation) -> Generated:
        ended = self.stopping.cut(text.ids, text.stopped)
        return Generated(
            ids=ended.ids,
            text=ended.text,
            rest=ended.rest,
            stopped=text.stopped,
            log_probs=text.log_probs[: len(ended.ids)] if self.log_probs else None,
            score=text.score,
        )


def _parts(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (items[begin : begin + size] for begin in range(0, len(items), size))
