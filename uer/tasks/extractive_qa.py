"""Questions whose answer is a stretch of a text; long texts are read in overlapping windows.

The model is UER-py's: one linear layer over the hidden states (`output_layer`), a logit for the start and one
for the end. A window is `[CLS] question [SEP] text [SEP]`; where it does not hold the answer, start and end
are at `[CLS]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.data.batch import Batch
from uer.errors import ConfigError, DataError
from uer.metrics import AnswerMatch
from uer.models.model import Inputs, Model
from uer.targets.term import Term
from uer.tasks.body import BodyModel, LayoutChoice
from uer.tasks.places import in_units, placed, tokens_in
from uer.tasks.qa_files import Query, read_queries
from uer.tasks.rows import Examples
from uer.tasks.spans import Answer, AnswerCollector, best_spans
from uer.utils.logging import logger

HEAD = (r"output_layer\.",)
ABSENT = torch.finfo(torch.float32).min / 4
"""the logits at padding"""


class QaModel(BodyModel):
    """Logits of starts and ends.

    Args:
        body: embedding and encoder.
    """

    def __init__(self, body: Model) -> None:
        super().__init__(body)
        self.output_layer = nn.Linear(body.config.hidden_size, 2)

    def logits(self, inputs: Inputs, *, layout: LayoutChoice | None = "auto") -> Tensor:
        """fp32 [B, L, 2]; `ABSENT` at padding, which with `layout` None is computed too, as in UER."""
        side = self.source(inputs, layout)
        logits = self.output_layer(self._encode(side, None, False).hidden).float()
        return logits if side.layout is None else side.layout.unpack(logits, ABSENT)

    def predict(self, inputs: Inputs) -> Tensor:
        """What prediction and evaluation read: the logits."""
        return self.logits(inputs)

    def forward(
        self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice | None = "auto"
    ) -> dict[str, Term]:
        """The term "qa": mean of the NLL of `labels["start"]` and `labels["end"]` [B], over real tokens."""
        logits = self.logits(inputs, layout=layout)
        both = [(logits[..., number], labels[name]) for number, name in enumerate(("start", "end"))]
        loss = sum(F.cross_entropy(given, gold, reduction="sum") for given, gold in both) / 2
        right = [given.detach().argmax(dim=1) == gold for given, gold in both]
        count = torch.full((), len(logits), device=logits.device)
        return {"qa": Term(loss, count, (right[0] & right[1]).sum())}


@dataclass
class Windows(Examples):
    """Windows as rows.

    Attributes:
        queries: the questions.
        places: of each question, the characters [start, stop) of each token of its context, [T, 2].
    """

    queries: list[Query] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)

    def text(self, question: int, answer: Answer) -> str:
        """The text of an answer, empty for none."""
        if answer.start < 0:
            return ""
        places = self.places[question]
        return self.queries[question].context[places[answer.start, 0] : places[answer.end, 1]]


class QaTask:
    """What a model of questions reads, learns from, and scores.

    Args:
        tokenizer: cuts texts; `char` is UER's way.
        seq_length: ids of a window. doc_stride: tokens from one start to the next.
        overflow: texts longer than a window are read in several ("window") or only the first ("truncate"),
            and in training also left out ("drop") or an "error".
        max_answer_length: most tokens of a predicted answer.
        null_threshold: see `AnswerCollector`; it acts when `no_answer`.
        metric_kind: a key of `uer.metrics.answers.DEFINITIONS`.
        no_answer: questions may have none; a training file with such questions sets it.
    """

    name = "extractive_qa"

    def __init__(
        self,
        tokenizer: Any,
        *,
        seq_length: int,
        doc_stride: int,
        overflow: str = "window",
        max_answer_length: int = 64,
        null_threshold: float = 0.0,
        metric_kind: str = "cmrc",
        no_answer: bool = False,
    ) -> None:
        frame = tokenizer.frame
        self.around = tuple(np.array(ids, np.int32) for ids in (frame.before, frame.between, frame.after))
        self.fixed = sum(map(len, self.around))
        if seq_length < self.fixed + 2:
            raise ConfigError(
                f"--seq_length {seq_length} has no room for question and text; give {self.fixed + 2} or more."
            )
        self.tokenizer, self.seq_length, self.doc_stride = tokenizer, seq_length, doc_stride
        self.overflow, self.max_answer_length = overflow, max_answer_length
        self.null_threshold, self.metric_kind, self.no_answer = null_threshold, metric_kind, no_answer

    def read(self, path: str | Path, *, training: bool = False) -> Windows:
        """A labelled file as windows.

        Raises:
            DataError: a fault of the document; with `--overflow error` a text that is too long.
        """
        queries = read_queries(path, answered=True)
        if training:
            self.no_answer = any(query.span is None for query in queries)
        how = self.overflow if training or self.overflow == "truncate" else "window"
        return self.encode(queries, how=how, labelled=True)

    def encode(self, queries: Sequence[Query], *, how: str = "window", labelled: bool = False) -> Windows:
        """Questions as windows of ids.

        `labels`, besides `start` and `end` [w]: `query`, the number of the question; `begin`, where the text
        begins in the window; `shift`, what to add to a place of the window to have one of the text.
        """
        asked = self._questions(queries)
        contexts = list(dict.fromkeys(query.context for query in queries))
        # A folder's tokenizer cuts whole texts, as it does there.
        cutting = placed if self.tokenizer.released else in_units
        cut = dict(zip(contexts, cutting(self.tokenizer, contexts)))
        sizes = np.array([len(cut[query.context][0]) for query in queries])
        rooms = self.seq_length - self.fixed - np.array([len(ids) for ids in asked])
        kept = self._settle(queries, sizes > rooms, how)
        queries = [queries[number] for number in kept]
        rows: list[np.ndarray] = []
        segs: list[np.ndarray] = []
        labels: list[tuple[int, ...]] = []
        for number, (query, at) in enumerate(zip(queries, kept)):
            ids, places = cut[query.context]
            gold = tokens_in(places, *query.span) if labelled and query.span else None
            for start in self._starts(len(ids), int(rooms[at])) if how != "truncate" else (0,):
                piece = ids[start : start + rooms[at]]
                first = np.concatenate([self.around[0], asked[at], self.around[1]])
                rows.append(np.concatenate([first, piece, self.around[2]]).astype(np.int32))
                begin = len(first)
                segs.append(np.repeat(np.array([1, 2], np.int8), [begin, len(rows[-1]) - begin]))
                labels.append((number, begin, start - begin, *_clipped(gold, start, len(piece), begin)))
        names = ("query", "begin", "shift", "start", "end")[: 5 if labelled else 3]
        return Windows(
            np.concatenate(rows),
            np.concatenate(segs),
            np.concatenate([[0], np.cumsum([len(row) for row in rows])]),
            np.zeros(len(rows), bool),
            dict(zip(names, np.array(labels, np.int64).T)),
            queries=queries,
            places=[cut[query.context][1] for query in queries],
        )

    def _questions(self, queries: Sequence[Query]) -> list[np.ndarray]:
        """The ids of each question; one that leaves no room for the text is cut to half a window."""
        ids, offsets = self.tokenizer.encode_batch([query.question for query in queries])
        asked, long = np.split(ids, offsets[1:-1]), 0
        for number, question in enumerate(asked):
            if len(question) + self.fixed >= self.seq_length:
                asked[number], long = question[: (self.seq_length - self.fixed) // 2], long + 1
        if long:
            logger.warning(
                f"{queries[0].node.path}: {long} of {len(queries)} questions leave no room for their text in "
                f"--seq_length {self.seq_length} tokens; they were cut on the right."
            )
        return asked

    def _settle(self, queries: Sequence[Query], long: np.ndarray, how: str) -> list[int]:
        """The questions that are kept; what happens to long texts is said."""
        count = int(long.sum())
        if not count:
            return list(range(len(queries)))
        path = queries[0].node.path
        facts = f"{count} of {len(queries)} questions have a text longer than --seq_length {self.seq_length}"
        if how == "error":
            raise queries[int(long.argmax())].node.fault(
                f"the text is too long ({facts}); raise it, or choose --overflow window, truncate or drop."
            )
        done = {
            "window": "it is read in windows",
            "truncate": "only its beginning is read",
            "drop": "they were left out",
        }
        logger.info(f"{path}: {facts}; {done[how]}.")
        if how != "drop":
            return list(range(len(queries)))
        if count == len(queries):
            raise DataError("every text is too long, so none is left; raise --seq_length.", path=path)
        return np.flatnonzero(~long).tolist()

    def _starts(self, size: int, room: int) -> range:
        """Where the windows begin in a text of `size` tokens."""
        stride = min(room, self.doc_stride)
        return range(0, max(size - room, 0) + stride, stride)

    def collate(self, examples: Windows, rows: np.ndarray) -> Batch:
        """A batch of some of the windows."""
        return Batch(
            inputs=examples.padded(rows, self.tokenizer.pad_id),
            labels={name: values[rows] for name, values in examples.labels.items()},
            counts={"qa": len(rows)},
            ids=rows,
        )

    def metric(self, settled: bool = False, count: int = 1) -> AnswerCollector:
        """A collector of `count` answers a question, which is a metric too."""
        threshold = self.null_threshold if self.no_answer else None
        return AnswerCollector(count=count, threshold=threshold, match=partial(AnswerMatch, self.metric_kind))

    def score(self, metric: AnswerCollector, outputs: np.ndarray, batch: Batch, examples: Windows) -> None:
        """Feed logits [B, L, 2] of a batch to a collector."""
        metric.bind([query.answers for query in examples.queries], examples.text)
        labels, real = batch.labels, (batch.inputs["seg"] > 0).sum(axis=1)
        several = metric.count if metric.count == 1 else 4 * metric.count  # some have the same text
        found = {"longest": self.max_answer_length, "count": several}
        ends = real - len(self.around[2])
        metric.update(labels["query"], labels["shift"], best_spans(outputs, labels["begin"], ends, **found))

    def answers(
        self,
        predict: Callable[[Windows], Iterable[tuple[Batch, np.ndarray]]],
        queries: Sequence[Query],
        count: int,
    ) -> list[list[dict[str, str | float]]]:
        """The `count` best answers of each question, texts with their scores, the predicted one first."""
        examples, collector = self.encode(queries), self.metric(count=count)
        for batch, logits in predict(examples):
            self.score(collector, logits, batch, examples)
        return [collector.listed(number) for number in range(len(queries))]

    def saved(self) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        names = ("seq_length", "doc_stride", "max_answer_length", "null_threshold", "no_answer")
        return {"labels": None, "extra": {"task": self.name, **{name: getattr(self, name) for name in names}}}


def _clipped(gold: tuple[int, int] | None, start: int, size: int, begin: int) -> tuple[int, int]:
    """Where an answer lies in a window over [start, start + size), cut to it; else `[CLS]`."""
    if gold is None or gold[0] >= start + size or gold[1] < start:
        return 0, 0
    first, last = max(gold[0], start), min(gold[1], start + size - 1)
    return first - start + begin, last - start + begin
