"""Extraction by prompts (UIE, as PaddleNLP ships it; Lu et al. 2022): what the prompt names is pointed at.

A row is `[CLS] prompt [SEP] text [SEP]`. Two linear layers over the hidden states (`output_layer_start`,
`output_layer_end`) say of each token whether an answer begins or ends there, each for itself, so that there
may be any number of answers. A text that is too long is read in windows; a token's pointers come from the
window in which it stands furthest inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.data.batch import Batch
from uer.errors import ConfigError, DataError
from uer.metrics import Table
from uer.models.model import Inputs, Model
from uer.targets.term import Term
from uer.tasks.body import BodyModel, LayoutChoice
from uer.tasks.extractive_qa import ABSENT
from uer.tasks.places import Placed, placed, tokens_in
from uer.tasks.pointers import Span, SpanSets, chosen, paired
from uer.tasks.rows import Examples
from uer.tasks.uie_files import Ask, asked, narrow, read_asks, with_negatives
from uer.tasks.windows import Windows, first_stretches, windows
from uer.utils.logging import logger

HEAD = (r"output_layer_(?:start|end)\.",)


class UieModel(BodyModel):
    """Pointers to starts and ends.

    Args:
        body: embedding and encoder.
    """

    def __init__(self, body: Model) -> None:
        super().__init__(body)
        self.output_layer_start = nn.Linear(body.config.hidden_size, 1)
        self.output_layer_end = nn.Linear(body.config.hidden_size, 1)

    def logits(self, inputs: Inputs, *, layout: LayoutChoice = "auto") -> Tensor:
        """fp32 [B, L, 2] of starts and ends; `ABSENT` at padding."""
        side = self.source(inputs, layout)
        hidden = self._encode(side, None, False).hidden
        logits = torch.cat([self.output_layer_start(hidden), self.output_layer_end(hidden)], dim=-1).float()
        return side.layout.unpack(logits, ABSENT)

    def predict(self, inputs: Inputs) -> Tensor:
        """What prediction and evaluation read: the probabilities [B, L, 2], 0 at padding."""
        return self.logits(inputs).sigmoid()

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "uie": binary cross-entropy against `labels["start"]` and `labels["end"]` [B, L] of 0 and
        1, mean of both and over real tokens.
        """
        logits, real = self.logits(inputs, layout=layout), inputs["seg"] > 0
        gold = torch.stack([labels["start"], labels["end"]], dim=-1)[real]
        given = logits[real]
        loss = F.binary_cross_entropy_with_logits(given, gold.to(given.dtype), reduction="sum") / 2
        correct = ((given.detach() > 0) == (gold > 0)).all(dim=-1).sum()
        return {"uie": Term(loss, real.sum(), correct)}


@dataclass
class Asked(Examples):
    """Windows as rows.

    Attributes:
        asks: the prompts and their texts.
        prompts, texts: of each, the characters [start, stop) of its tokens, [T, 2].
    """

    asks: list[Ask] = field(default_factory=list)
    prompts: list[np.ndarray] = field(default_factory=list)
    texts: list[np.ndarray] = field(default_factory=list)


class UieTask:
    """What an extractor reads, learns from, and scores.

    Args:
        tokenizer: cuts prompts and texts.
        seq_length: ids of a window.
        overflow: texts longer than a window are read in several ("window") or only the first ("truncate"),
            and in training also left out ("drop") or an "error".
        threshold: a token begins or ends an answer where its probability is greater.
        negative_ratio: prompts without an answer that are added to those of a training text, for each that
            has one.
        lang: a key of `uer.tasks.uie_files.JOIN`: the language of the prompts.
        seed: chooses those prompts.
    """

    name = "uie"

    def __init__(
        self,
        tokenizer: Any,
        *,
        seq_length: int,
        overflow: str = "window",
        threshold: float = 0.5,
        negative_ratio: int = 0,
        lang: str = "zh",
        seed: int = 7,
    ) -> None:
        self.tokenizer, self.seq_length, self.overflow = tokenizer, seq_length, overflow
        self.threshold, self.negative_ratio, self.lang, self.seed = threshold, negative_ratio, lang, seed
        frame = tokenizer.frame
        self.before, self.between, self.after = frame.before, frame.between, frame.after
        self.room = seq_length - len(self.before) - len(self.between) - len(self.after)
        if self.room < 2:
            raise ConfigError(f"--seq_length {seq_length} has no room for prompt and text; give 5 or more.")

    def read(self, path: str | Path, *, training: bool = False) -> Asked:
        """A labelled file as windows.

        Raises:
            DataError: a fault of the file; with `--overflow error` a text that is too long.
        """
        asks = read_asks(path, lang=self.lang)
        if training and self.negative_ratio:
            whole = with_negatives(asks, self.negative_ratio, lang=self.lang, seed=self.seed)
            logger.info(f"{path}: {len(whole) - len(asks)} prompts without an answer to {len(asks)} rows.")
            asks = whole
        how = self.overflow if training or self.overflow == "truncate" else "window"
        return self.encode(asks, how=how, source=str(path))

    def encode(self, asks: Sequence[Ask], *, how: str = "window", source: str = "input") -> Asked:
        """Prompts and texts as windows of ids.

        `tokens["start"]` and `tokens["end"]` are 1 where an answer begins and ends. `labels`: `ask`, the
        number of the prompt; `begin`, where the text begins in the window; `shift`, the place of its first
        token in the text; `own_start` and `own_stop`, the places of the text whose pointers count.
        """
        prompts = self._placed([narrow(ask.prompt) for ask in asks])
        texts = self._placed([ask.text for ask in asks])
        prompts = [self._shortened(prompt) for prompt in prompts]
        rooms = self.room - np.array([len(ids) for ids, _ in prompts])
        sizes = np.array([len(ids) for ids, _ in texts])
        cut = self._settle(asks, sizes, rooms, how, source)
        gold = [self._gold(*each) for each in zip(asks, prompts, texts)]
        ids, seg, marks = [], [], []
        for row, start, stop in zip(cut.row.tolist(), cut.start.tolist(), cut.stop.tolist()):
            first = (self.before, prompts[row][0], self.between)
            second = (texts[row][0][start:stop], self.after)
            ids += [np.concatenate([np.asarray(part, np.int32) for part in (*first, *second)])]
            seg += [np.repeat(np.array([1, 2], np.int8), [sum(map(len, part)) for part in (first, second)])]
            marks += [self._marks(*gold[row], start, stop)]
        begin = len(self.before) + len(self.between) + self.room - rooms
        return Asked(
            np.concatenate(ids),
            np.concatenate(seg),
            np.concatenate([[0], np.cumsum([len(row) for row in ids])]),
            (sizes > rooms)[cut.row],
            {
                "ask": cut.row,
                "begin": begin[cut.row],
                "shift": cut.start,
                "own_start": cut.own_start,
                "own_stop": cut.own_stop,
            },
            dict(zip(("start", "end"), np.concatenate(marks, axis=1))),
            asks=list(asks),
            prompts=[places for _, places in prompts],
            texts=[places for _, places in texts],
        )

    def _placed(self, texts: Sequence[str]) -> list[Placed]:
        """Texts as ids and their characters, each distinct one cut once."""
        distinct = list(dict.fromkeys(texts))
        known = dict(zip(distinct, placed(self.tokenizer, distinct)))
        return [known[text] for text in texts]

    def _shortened(self, prompt: Placed) -> Placed:
        """A prompt that leaves less than half of the room to the text, cut on the left."""
        ids, places = prompt
        keep = min(len(ids), self.room // 2)
        return ids[len(ids) - keep :], places[len(ids) - keep :]

    def _settle(
        self, asks: Sequence[Ask], sizes: np.ndarray, rooms: np.ndarray, how: str, source: str
    ) -> Windows:
        """The windows of all texts; what happens to long ones is said."""
        long = sizes > rooms
        if not long.any():
            return first_stretches(sizes, int(sizes.max(initial=1)))
        facts = (
            f"{long.sum()} of {len(asks)} texts are longer than --seq_length {self.seq_length} leaves room"
        )
        if how == "error":
            raise asks[int(long.argmax())].node.fault(
                f"the text is too long ({facts}); raise it, or choose --overflow window, truncate or drop."
            )
        done = {"window": "they are read in windows", "truncate": "only their beginnings are read"}
        logger.info(f"{source}: {facts}; {done.get(how, 'they were left out')}.")
        if how == "drop" and long.all():
            raise DataError("every text is too long, so none is left; raise --seq_length.", path=source)
        if how == "window":
            return windows(sizes, rooms)
        cut = first_stretches(sizes, rooms)
        return cut if how == "truncate" else Windows(*(part[~long] for part in cut))

    def _gold(self, ask: Ask, prompt: Placed, text: Placed) -> tuple[np.ndarray, np.ndarray]:
        """[2, T] of 0 and 1 over the tokens of the prompt and of the text: starts and ends of answers."""
        out = []
        for (_, places), spans in ((prompt, ask.options), (text, ask.spans)):
            marks = np.zeros((2, len(places)), np.int8)
            for span in spans:
                if (found := tokens_in(places, *span)) is not None:
                    marks[0, found[0]] = marks[1, found[1]] = 1
            out.append(marks)
        return out[0], out[1]

    def _marks(self, prompt: np.ndarray, text: np.ndarray, start: int, stop: int) -> np.ndarray:
        """[2, ids of the window] of 0 and 1."""
        around = [np.zeros((2, len(ids)), np.int8) for ids in (self.before, self.between, self.after)]
        return np.concatenate([around[0], prompt, around[1], text[:, start:stop], around[2]], axis=1)

    def collate(self, examples: Asked, rows: np.ndarray) -> Batch:
        """A batch of some of the windows."""
        labels = {name: values[rows] for name, values in examples.labels.items()}
        labels |= {name: examples.grid(values, rows, 0) for name, values in examples.tokens.items()}
        count = int(examples.lengths[rows].sum())
        return Batch(examples.padded(rows, self.tokenizer.pad_id), labels, {"uie": count}, rows)

    def metric(self, settled: bool = False) -> AnswerSets:
        """A fresh metric, which also gives the answers."""
        return AnswerSets(self.threshold, len(self.before), self.lang)

    def score(self, metric: AnswerSets, outputs: np.ndarray, batch: Batch, examples: Asked) -> None:
        """Feed probabilities [B, L, 2] of a batch to a metric."""
        metric.bind(examples)
        metric.update(outputs, batch.labels)

    def answers(
        self, stream: Callable[[Asked], Iterable[tuple[Batch, np.ndarray]]], asks: Sequence[tuple[str, str]]
    ) -> list[list[dict[str, Any]]]:
        """What each prompt finds in its text; `stream` gives batches and their probabilities."""
        examples = self.encode([Ask(prompt, text) for prompt, text in asks])
        found = self.metric()
        for batch, outputs in stream(examples):
            self.score(found, outputs, batch, examples)
        return [found.results(number) for number in range(len(asks))]

    def saved(self) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        extra = {"task": self.name, "seq_length": self.seq_length}
        return {"labels": None, "extra": {**extra, "threshold": self.threshold, "schema_lang": self.lang}}


class AnswerSets:
    """The answers to each prompt, gathered from its windows in any order, and their F1.

    Args:
        threshold: see `UieTask`.
        first: ids in front of the prompt. lang: of the prompts, see `UieTask`.
    """

    def __init__(self, threshold: float, first: int, lang: str) -> None:
        self.threshold, self.first, self.lang = threshold, first, lang
        self.examples: Asked | None = None

    def bind(self, examples: Asked) -> None:
        """Say what the prompts are, before the first update; again is of no effect."""
        if self.examples is None:
            self.examples = examples
            self._left = np.bincount(examples.labels["ask"], minlength=len(examples.asks))
            self._begun: dict[int, tuple[np.ndarray, list[np.ndarray]]] = {}
            self._found: dict[int, tuple[list[Span], list[Span]]] = {}

    def update(self, outputs: np.ndarray, labels: dict[str, np.ndarray]) -> None:
        """Add windows: probabilities [B, L, 2], and the labels of `UieTask.encode`.

        Nothing is kept of a prompt but its answers when the last of its windows has come.
        """
        names = ("ask", "begin", "shift", "own_start", "own_stop")
        for given, row in zip(outputs, zip(*(labels[name].tolist() for name in names))):
            ask, begin, shift, start, stop = row
            if ask not in self._begun:
                self._begun[ask] = np.zeros((len(self.examples.texts[ask]), 2)), []
            text, prompt = self._begun[ask]
            text[start:stop] = given[begin - shift + start : begin - shift + stop]
            prompt.append(given[self.first : self.first + len(self.examples.prompts[ask])].copy())
            self._left[ask] -= 1
            if not self._left[ask]:
                self._found[ask] = self._settled(ask, *self._begun.pop(ask))

    def _settled(
        self, number: int, text: np.ndarray, prompts: Sequence[np.ndarray]
    ) -> tuple[list[Span], list[Span]]:
        """The answers to a prompt by all its windows; see `spans`."""
        if (begin := self.examples.asks[number].chooses) is None:
            return paired(*text.T, self.threshold), []
        offered = self.examples.prompts[number][:, 0] >= begin
        best = chosen([paired(*(given * offered[:, None]).T, self.threshold) for given in prompts])
        return [], [] if best is None else [best]

    def spans(self, number: int) -> tuple[list[Span], list[Span]]:
        """The answers to a prompt in tokens: those in its text, or the one it offers in itself."""
        return self._found.get(number, ([], []))

    def results(self, number: int) -> list[dict[str, Any]]:
        """The answers to a prompt, in their order in the text: `text`, `start`, `end`, `probability`."""
        ask, (inside, offered) = self.examples.asks[number], self.spans(number)
        out = []
        for start, end, probability in inside:
            a, b = self._characters(self.examples.texts[number], start, end)
            out.append({"text": ask.text[a:b], "start": a, "end": b, "probability": probability})
        for start, end, probability in offered:
            a, b = self._characters(self.examples.prompts[number], start, end)
            out.append({"text": ask.prompt[a:b], "probability": probability})
        return out

    @staticmethod
    def _characters(places: np.ndarray, start: int, end: int) -> tuple[int, int]:
        return int(places[start, 0]), int(places[end, 1])

    def metric(self) -> SpanSets:
        """The scores of the answers, compared by their characters."""
        sets = SpanSets()
        for number, ask in enumerate(self.examples.asks if self.examples else ()):
            inside, offered = self.spans(number)
            if ask.chooses is None:
                places, gold = self.examples.texts[number], ask.spans
            else:
                places, gold, inside = self.examples.prompts[number], ask.options, offered
            sets.update(
                (self._characters(places, span.start, span.end) for span in inside),
                gold,
                asked(ask, self.lang),
            )
        return sets

    def tables(self) -> list[Table]:
        """See `SpanSets.tables`."""
        return self.metric().tables()

    def scores(self) -> dict[str, float]:
        """See `SpanSets.scores`."""
        return self.metric().scores()

    def report(self) -> list[str]:
        """See `SpanSets.report`."""
        return self.metric().report()
