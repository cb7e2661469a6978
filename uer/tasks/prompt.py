"""Classification as a blank to fill: a template, a masked language model, and a word for each label.

A prompt is `{"template": "[TEXT_A] … [ANS] … [TEXT_B]", "answer_words": {label: word}}`. The blank is as many
`[MASK]` as the words have tokens. The model is body and MLM head of the pre-trained one, nothing is new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.config.model import ModelConfig
from uer.data.batch import Batch
from uer.errors import ConfigError, DataError, pick
from uer.metrics import Classification
from uer.models.build import build_model
from uer.models.model import Inputs, Model
from uer.targets.mlm import MlmHead
from uer.targets.term import Term
from uer.tasks.body import LayoutChoice
from uer.tasks.classifier import label_ids
from uer.tasks.labels import LabelMap
from uer.tasks.overflow import remembered, settle_rows
from uer.tasks.rows import Examples, Ragged, in_windows, join, places_of
from uer.tasks.setup import encoder_config
from uer.tasks.table import read_table
from uer.utils.logging import logger

SLOTS = ("[TEXT_A]", "[TEXT_B]", "[ANS]")


class Prompt:
    """A template with its answers, as ids.

    Args:
        name: of the prompt, for messages. template, answer_words: see the module.
        tokenizer: cuts the words and what stands between the slots.

    Attributes:
        parts: slots and lists of ids in the order of the template.
        labels: in the order of the ids of their words, as in UER.
        answers: int64 [C, K], the tokens of each label's word.

    Raises:
        ConfigError: a slot is missing or stands twice; words of unlike numbers of tokens, unknown or equal.
    """

    def __init__(self, name: str, template: str, answer_words: Mapping[str, str], tokenizer: Any) -> None:
        self.name, self.template, self.words = name, template, dict(answer_words)
        counts = {slot: template.count(slot) for slot in SLOTS}
        if counts["[TEXT_A]"] != 1 or counts["[ANS]"] != 1 or counts["[TEXT_B]"] > 1:
            raise ConfigError(
                f"the template of the prompt '{name}' is '{template}'; it needs one [TEXT_A], one [ANS], and "
                "for pairs one [TEXT_B]."
            )
        pieces = [piece for piece in re.split(r"(\[TEXT_A\]|\[TEXT_B\]|\[ANS\])", template) if piece]
        self.parts = [p if p in SLOTS else tokenizer.encode(p) for p in pieces]
        self.pairs = counts["[TEXT_B]"] == 1
        ids = {str(label): tuple(tokenizer.encode(word)) for label, word in self.words.items()}
        self._check(ids, tokenizer.unk_id)
        ordered = sorted(ids, key=lambda label: ids[label])
        self.labels = LabelMap(ordered, f"the prompt '{name}'")
        self.answers = np.array([ids[label] for label in ordered], np.int64)

    def _check(self, ids: Mapping[str, tuple[int, ...]], unknown: int) -> None:
        """Whether the words can be told apart, and asked for by one blank."""
        if len(ids) < 2:
            raise ConfigError(
                f"the prompt '{self.name}' has {len(ids)} answer words; two are needed at least."
            )
        lengths = {self.words[label]: len(tokens) for label, tokens in ids.items()}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            listed = ", ".join(f"'{word}': {length}" for word, length in lengths.items())
            raise ConfigError(
                f"the answer words of the prompt '{self.name}' have different numbers of tokens ({listed}); "
                "choose words of the same number."
            )
        seen: dict[tuple[int, ...], str] = {}
        for label, tokens in ids.items():
            if unknown in tokens:
                raise ConfigError(
                    f"the answer word '{self.words[label]}' of the prompt '{self.name}' is not in the "
                    "vocabulary; choose another word."
                )
            if tokens in seen:
                raise ConfigError(
                    f"the labels '{seen[tokens]}' and '{label}' of the prompt '{self.name}' have the same "
                    "answer; give each a word of its own."
                )
            seen[tokens] = label

    @property
    def blanks(self) -> int:
        """K, the number of tokens of an answer."""
        return self.answers.shape[1]

    def saved(self) -> dict[str, Any]:
        """What the companion folder keeps."""
        return {"name": self.name, "template": self.template, "answer_words": self.words}


def read_prompt(path: str | Path, name: str, tokenizer: Any) -> Prompt:
    """A prompt of a JSON file.

    Raises:
        DataError: no such file, not JSON, or the prompt lacks a key.
        ConfigError: no such prompt; see `Prompt`.
    """
    try:
        prompts = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError("cannot be read; name the file of prompts with --prompt_path.", path=path) from error
    except ValueError as error:
        raise DataError(f"is not valid JSON ({error}).", path=path) from error
    if not isinstance(prompts, dict):
        raise DataError("must hold a JSON object: name → template and answer_words.", path=path)
    chosen = pick(name, prompts, "--prompt_id")
    if not isinstance(chosen, dict) or not isinstance(chosen.get("template"), str):
        raise DataError(f"the prompt '{name}' has no 'template', which must be a text.", path=path)
    words = chosen.get("answer_words")
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise DataError(f"the prompt '{name}' has no 'answer_words', an object label → word.", path=path)
    return Prompt(name, chosen["template"], words, tokenizer)


class PromptModel(Model):
    """Body and MLM head; logits [B, C] are those of the answers' tokens at the blank.

    `inputs["answer"]` [B, L] is 1 at the blank. The logit of an answer is the sum of those of its tokens.

    Args:
        body: a model with the target mlm. answers: [C, K], see `Prompt`.
    """

    def __init__(self, body: Model, answers: Tensor) -> None:
        super().__init__(body.config, embedding=body.embedding, encoder=body.encoder, target=body.target)
        self.register_buffer("answers", answers, persistent=False)

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int, answers: np.ndarray) -> PromptModel:
        """The model of a configuration; its only target is mlm."""
        config = encoder_config(config).replace(target=("mlm",))
        return cls(build_model(config, vocab_size), torch.from_numpy(answers))

    @property
    def head(self) -> MlmHead:
        """The head of pre-training."""
        return self.target.mlm

    def predict(self, inputs: Inputs, *, layout: LayoutChoice = "auto") -> Tensor:
        """fp32 [B, C]"""
        side = self.source(inputs, layout)
        blank = side.streams.pop("answer") > 0
        hidden = self._encode(side, None, False).hidden[blank]  # [B·K, H]
        blanks = self.answers.shape[1]
        features = self.head.features(hidden).unflatten(0, (-1, blanks))  # [B, K, E]
        output: nn.Linear = self.head.linear_2
        logits = torch.einsum("bke,cke->bkc", features, output.weight[self.answers].to(features.dtype))
        return (logits.float() + output.bias[self.answers].T).sum(dim=1)

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "cls": NLL of `labels["cls"]` [B] among all words.

        As in UER-py every word that is no answer has the logit 0, so answers are drawn above that too.
        """
        logits, gold = self.predict(inputs, layout=layout), labels["cls"]
        others = self.head.linear_2.out_features - len(self.answers)
        rest = torch.full_like(logits[:, :1], float(np.log(max(others, 1e-30))))
        loss = F.cross_entropy(torch.cat([logits, rest], dim=1), gold, reduction="sum")
        correct = (logits.detach().argmax(dim=1) == gold).sum()
        return {"cls": Term(loss, torch.full((), len(gold), device=gold.device), correct)}


class PromptTask:
    """What a prompt reads, learns from, and scores.

    Args:
        prompt: template and answers; its labels are the task's.
        seq_length: ids of a row; texts are cut so that the template stays whole.
        overflow: what happens to longer rows: in training see `uer.tasks.overflow.settle_overflow`; elsewhere
            they are cut too, or read in windows, each with the template.
        area: score the area under the ROC curve of more than two labels too.
    """

    name = "prompt"

    def __init__(
        self,
        tokenizer: Any,
        prompt: Prompt,
        *,
        seq_length: int,
        overflow: str = "truncate",
        area: bool = False,
    ) -> None:
        self.tokenizer, self.prompt, self.labels = tokenizer, prompt, prompt.labels
        self.seq_length, self.overflow, self.area = seq_length, overflow, area
        fixed = 2 + prompt.pairs + prompt.blanks
        fixed += sum(len(part) for part in prompt.parts if not isinstance(part, str))
        self.room = seq_length - fixed
        if self.room < 1:
            raise ConfigError(
                f"the template of the prompt '{prompt.name}' takes {fixed} of --seq_length {seq_length} "
                "tokens and leaves no room for a text; raise --seq_length."
            )

    def encode(self, rows: Sequence[Mapping[str, str]]) -> Examples:
        """Rows with `text_a` (and `text_b`, where the template asks for it) as ids, the blank marked.

        What is too long is cut from the second text first. A pair has a `[SEP]` behind the first text.
        """
        texts, of, long = self._texts(rows)
        pieces: list[tuple[int | Ragged, int]] = [(self.tokenizer.cls_id, 1)]
        for part in self.prompt.parts:
            if part == "[ANS]":
                blank = len(pieces)
                pieces += [(self.tokenizer.mask_id, 1)] * self.prompt.blanks
            elif isinstance(part, str):
                pieces.append((texts[part], 1))
                pieces += [(self.tokenizer.sep_id, 1)] * (part == "[TEXT_A]" and self.prompt.pairs)
            else:
                pieces += [(token, 1) for token in part]
        pieces.append((self.tokenizer.sep_id, 1))
        examples = join(pieces, self.seq_length)
        before = sum((1 if isinstance(c, int) else np.diff(c[1]) for c, _ in pieces[:blank]), 0)
        places = (examples.offsets[:-1] + before)[:, None] + np.arange(self.prompt.blanks)
        marks = np.zeros(len(examples.ids), np.int8)
        marks[places.ravel()] = 1
        examples.tokens["answer"] = marks
        examples.long, examples.of = long, of
        return examples

    def _texts(
        self, rows: Sequence[Mapping[str, str]]
    ) -> tuple[dict[str, Ragged], np.ndarray | None, np.ndarray]:
        """The text of each slot, in windows or cut; the row of each window; rows that were cut."""
        slots = {"[TEXT_A]": "text_a", "[TEXT_B]": "text_b"} if self.prompt.pairs else {"[TEXT_A]": "text_a"}
        whole = [self.tokenizer.encode_batch([row[name] for row in rows]) for name in slots.values()]
        if self.overflow == "window":
            of, texts = in_windows(whole, self.room)
            return dict(zip(slots, texts)), of, np.zeros(len(texts[0][1]) - 1, bool)
        texts, left = [], np.full(len(rows), self.room)
        for text in whole:
            texts.append(_cut(text, left))
            left = left - np.diff(texts[-1][1])
        return dict(zip(slots, texts)), None, sum(np.diff(offsets) for _, offsets in whole) > self.room

    def columns(self) -> tuple[str, ...]:
        """The columns that a row needs besides its label."""
        return ("text_a", "text_b") if self.prompt.pairs else ("text_a",)

    def read(self, path: str | Path, *, training: bool = False) -> Examples:
        """A labelled file as examples.

        Raises:
            DataError: a fault of the file, or a label without an answer word.
        """
        table = read_table(path, ("label", *self.columns()))
        examples = self.encode(table.rows)
        examples.label({"cls": label_ids(table, self.labels)})
        kept = settle_rows(examples, table, self.overflow, training, seq_length=self.seq_length)
        logger.info(f"read dataset, count:{len(table)}, ignore_count:{len(table) - kept.rows_num}")
        return kept

    def collate(self, examples: Examples, rows: np.ndarray) -> Batch:
        """A batch of some of the examples, padded to the longest of them."""
        inputs = examples.padded(rows, self.tokenizer.pad_id)
        inputs["answer"] = examples.grid(examples.tokens["answer"], rows, 0)
        labels = {name: values[rows] for name, values in examples.labels.items()}
        return Batch(inputs=inputs, labels=labels, counts={"cls": len(rows)}, ids=rows)

    def metric(self, settled: bool = False) -> Classification:
        """A fresh metric."""
        return Classification(self.labels.names, area=self.area)

    def score(self, metric: Classification, outputs: np.ndarray, batch: Batch, examples: Examples) -> None:
        """Feed logits [B, C] of a batch to a metric."""
        metric.update(outputs, batch.labels["cls"])

    def saved(self) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        extra = {"task": self.name, "seq_length": self.seq_length, **remembered(self.overflow)}
        return {"labels": self.labels.names, "extra": {**extra, "prompt": self.prompt.saved()}}


def _cut(texts: Ragged, limits: np.ndarray) -> Ragged:
    """Each text cut on the right at its limit."""
    values, offsets = texts
    kept = np.minimum(np.diff(offsets), limits)
    return values[places_of(offsets[:-1], kept)], np.concatenate([[0], kept.cumsum()])
