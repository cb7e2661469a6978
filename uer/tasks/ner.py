"""Tagging of words: `text_a label`, words and tags with one blank between them, as many tags as words.

A word may be several tokens; its tag stands at the first. The model is UER-py's: one linear layer over the
hidden states (`output_layer`), and on request a conditional random field (`crf`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from uer.config.model import ModelConfig
from uer.data.batch import IGNORE, Batch
from uer.data.readers import read_tsv
from uer.errors import ConfigError, DataError
from uer.layers.layout import Layout
from uer.metrics import SpanF1
from uer.models.model import Inputs, Model
from uer.targets.term import Term, term
from uer.tasks.body import BodyModel, LayoutChoice, task_body
from uer.tasks.crf import CRF
from uer.tasks.labels import LabelMap, listing
from uer.tasks.overflow import remembered, scored
from uer.tasks.rows import Examples, Ragged, join, places_of
from uer.tasks.setup import check_task
from uer.tasks.table import read_table
from uer.tasks.windows import Windows, first_stretches, windows
from uer.utils.logging import logger

if TYPE_CHECKING:
    from uer.checkpoints.companion import Companion

HEAD = (r"output_layer\.", r"crf\.")
PAD = "[PAD]"
"""UER's last label, of padding; no word is given it"""


class NerModel(BodyModel):
    """A tag for every word.

    `inputs["first"]` [B, L] is 1 at the first token of each word, 0 elsewhere.

    Args:
        body: embedding and encoder. labels_num: C, the label of padding (the last) included.
        crf: tags are scored as sequences.
        padded: the last label is that of padding, which no word is given; a folder of Hugging Face has none.
    """

    def __init__(self, body: Model, *, labels_num: int, crf: bool, padded: bool = True) -> None:
        super().__init__(body)
        self.output_layer = nn.Linear(body.config.hidden_size, labels_num)
        self.crf = CRF(labels_num) if crf else None
        self.padded = padded

    @classmethod
    def build(cls, config: ModelConfig, vocab_size: int, *, crf: bool, padded: bool = True) -> NerModel:
        """The model of a configuration whose `labels_num` is set."""
        return cls(task_body(config, vocab_size), labels_num=config.labels_num, crf=crf, padded=padded)

    def logits(self, inputs: Inputs, *, layout: LayoutChoice = "auto") -> tuple[Tensor, Layout]:
        """fp32 [N, C] of all tokens, and where they lie."""
        side = self.source(inputs, layout)
        hidden = self._encode(side, None, False).hidden
        return self.output_layer(hidden).float(), side.layout

    def forward(self, inputs: Inputs, labels: Inputs, *, layout: LayoutChoice = "auto") -> dict[str, Term]:
        """The term "ner" against `labels["ner"]` [B, L], -100 where no tag stands.

        Without a CRF the mean is over words, with one over rows.
        """
        logits, layout = self.logits(inputs, layout=layout)
        tags = labels["ner"]
        if self.crf is None:
            return {"ner": term(logits, layout.pack(tags))}
        emissions, words = self._of_words(logits, layout, inputs["first"])
        gold = words.to_sequences(words.pack(tags))
        loss = self.crf(emissions, words.real, gold).sum()
        best = self.crf(emissions.detach(), words.real)
        correct = (best == gold).masked_fill(~words.real, True).all(1)
        return {"ner": Term(loss, torch.full((), len(tags), device=tags.device), correct.sum())}

    def predict(self, inputs: Inputs) -> Tensor:
        """The best tags, [B, L]; only those at the first token of a word mean something."""
        logits, layout = self.logits(inputs)
        if self.padded:
            logits[:, -1] = torch.finfo(logits.dtype).min / 4
        if self.crf is None:
            return layout.unpack(logits.argmax(dim=1))
        emissions, words = self._of_words(logits, layout, inputs["first"])
        return words.unpack(words.from_sequences(self.crf(emissions, words.real)))

    @staticmethod
    def _of_words(logits: Tensor, layout: Layout, first: Tensor) -> tuple[Tensor, Layout]:
        """The logits of the words alone, [S, T, C], and where the words lie."""
        words = Layout.from_seg(first)
        return words.to_sequences(words.pack(layout.unpack(logits))), words


class NerTask:
    """What a tagger reads, learns from, and scores.

    Args:
        tokenizer: cuts words into tokens; `space` leaves them whole.
        labels: the tags, that of padding last.
        seq_length: ids of a row or window.
        overflow: longer rows are cut ("truncate"), read in windows ("window"), and in training also left out
            ("drop") or an "error".
        special_tokens: a row stands between what its tokenizer puts around texts (`[CLS]` and `[SEP]`).
        crf: see `NerModel`; changes what a batch counts.
    """

    name = "ner"

    def __init__(
        self,
        tokenizer: Any,
        labels: LabelMap,
        *,
        seq_length: int,
        overflow: str = "truncate",
        special_tokens: bool = False,
        crf: bool = False,
    ) -> None:
        self.tokenizer, self.labels, self.crf = tokenizer, labels, crf
        self.seq_length, self.overflow, self.special_tokens = seq_length, overflow, special_tokens
        frame = tokenizer.frame
        self.around = (frame.before, frame.after) if special_tokens else ((), ())
        self.size = seq_length - sum(map(len, self.around))

    def read(self, path: str | Path, *, training: bool = False) -> Examples:
        """A labelled file as examples.

        Raises:
            DataError: a fault of the file, another number of tags than of words, an unknown tag; with
                `--overflow error` a row that is too long.
        """
        table = read_table(path, ("text_a", "label"))
        gold: list[int] = []
        for row, line in zip(table.rows, table.lines):
            words, tags = split(row["text_a"]), split(row["label"])
            if len(words) != len(tags):
                raise DataError(
                    f"the row has {len(words)} words and {len(tags)} tags; separate both by one blank each.",
                    path=path,
                    line=line,
                )
            gold += [self.labels.id_of(tag, path, line) for tag in tags]
        if training and (remark := self.metric().tags.remark()):
            logger.warning(remark)
        how = self.overflow if training else scored(self.overflow)
        examples = self.encode(table.rows, how=how, path=str(path), lines=table.lines)
        word = examples.tokens["every" if self.crf else "word"]
        examples.tokens["ner"] = np.where(word < 0, IGNORE, np.array(gold, np.int64)[word])
        return examples

    def encode(
        self,
        rows: Sequence[Mapping[str, str]],
        *,
        how: str | None = None,
        path: str = "",
        lines: Sequence[int] = (),
    ) -> Examples:
        """Rows as windows of ids.

        `tokens["every"]` is, at the first token of a word, the word's number counted over all rows, else -1;
        `tokens["word"]` the same for words whose tag this window gives; `labels["row"]` is the row of each
        window. A field reads all words of a window, since it would take the first it reads for a beginning.
        """
        words = [split(row["text_a"]) for row in rows]
        counts = np.array([len(row) for row in words], np.int64)
        ids, offsets = word_pieces(self.tokenizer, [word for row in words for word in row], apart=True)
        ends = np.concatenate([[0], counts.cumsum()])
        row_offsets = offsets[ends]  # where the tokens of each row begin
        lengths = np.diff(row_offsets)
        how = how or scored(self.overflow)
        cut = self._settle(lengths, how, path, lines)
        word = np.full(len(ids), -1, np.int64)
        word[offsets[:-1]] = np.arange(len(offsets) - 1)
        return self._windows(cut, ids, word, row_offsets, lengths)

    def _settle(self, lengths: np.ndarray, how: str, path: str, lines: Sequence[int]) -> Windows:
        """The windows of all rows; what happens to long ones is said."""
        long = lengths > self.size
        count = int(long.sum())
        if not count:
            return first_stretches(lengths, self.size)
        facts = f"{count} of {len(lengths)} rows are longer than --seq_length {self.seq_length} tokens"
        if how == "error":
            raise DataError(
                f"the row is too long ({facts}); raise it, or choose --overflow truncate, window or drop.",
                path=path,
                line=lines[int(long.argmax())],
            )
        said = {
            "truncate": "they were cut, so their last words have no tags (--overflow window reads them all)",
            "window": "they are read in windows",
            "drop": "they were left out",
        }[how]
        logger.warning(f"{path or 'input'}: {facts}; {said}.")
        if how == "window":
            return windows(lengths, self.size, max(1, self.size * 3 // 4))
        cut = first_stretches(lengths, self.size)
        if how == "drop":
            if count == len(lengths):
                raise DataError("every row is too long, so none is left; raise --seq_length.", path=path)
            cut = Windows(*(part[~long] for part in cut))
        return cut

    def _windows(
        self, cut: Windows, ids: np.ndarray, word: np.ndarray, row_offsets: np.ndarray, lengths: np.ndarray
    ) -> Examples:
        """Examples from flat ids and words; windows that give no word its tag are left out."""
        starts, sizes = row_offsets[:-1][cut.row] + cut.start, cut.stop - cut.start
        places = places_of(starts, sizes)
        within = places - np.repeat(row_offsets[:-1][cut.row], sizes)
        owned = (within >= np.repeat(cut.own_start, sizes)) & (within < np.repeat(cut.own_stop, sizes))
        examples = Examples(
            ids[places],
            np.ones(len(places), np.int8),
            np.concatenate([[0], sizes.cumsum()]),
            lengths[cut.row] > self.size,
            {"row": cut.row},
            {"every": word[places], "word": np.where(owned, word[places], -1)},
        )
        if any(self.around):
            examples = surrounded(examples, *self.around)
        given = np.add.reduceat(examples.tokens["word"] >= 0, examples.offsets[:-1]) > 0
        return examples if given.all() else examples.take(np.flatnonzero(given))

    def collate(self, examples: Examples, rows: np.ndarray) -> Batch:
        """A batch of some of the windows."""
        inputs = examples.padded(rows, self.tokenizer.pad_id)
        inputs["first"] = (examples.grid(examples.tokens["every"], rows, -1) >= 0).astype(np.int64)
        if "ner" not in examples.tokens:
            return Batch(inputs, {}, {}, rows)
        gold = examples.grid(examples.tokens["ner"], rows, IGNORE)
        count = len(rows) if self.crf else int((gold != IGNORE).sum())
        return Batch(inputs, {"ner": gold}, {"ner": count}, rows)

    def metric(self, settled: bool = False) -> SpanF1:
        """A fresh metric."""
        return SpanF1(self.labels.names)

    def score(self, metric: SpanF1, outputs: np.ndarray, batch: Batch, examples: Examples) -> None:
        """Feed the tags [B, L] of a batch to a metric."""
        word, row, tags = tagged(outputs, batch, examples)
        metric.update(word, row, tags, batch.labels["ner"][given_tags(batch, examples)])

    def cells(
        self,
        predict: Callable[[Examples], Iterable[tuple[Batch, np.ndarray]]],
        rows: Sequence[Mapping[str, str]],
    ) -> list[str]:
        """UER's cells: the tags of each row, a blank behind each; words that were cut off have none."""
        examples = self.encode(rows, path="input")
        parts = [tagged(outputs, batch, examples) for batch, outputs in predict(examples)]
        word, row, tags = (np.concatenate(part) for part in zip(*parts))
        order = np.argsort(word)
        names = np.array(self.labels.names, dtype=object)[tags[order]]
        ends = np.bincount(row, minlength=len(rows)).cumsum()
        return ["".join(f"{name} " for name in names[a:b]) for a, b in zip([0, *ends[:-1]], ends)]

    def saved(self) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        extra = {"task": self.name, "seq_length": self.seq_length, "special_tokens": self.special_tokens}
        extra |= {**remembered(self.overflow), "crf_target": self.crf}
        return {"labels": self.labels.names, "extra": extra}


def split(text: str) -> list[str]:
    """Words or tags: what stands between single blanks; two blanks have an empty word between, as in UER.

    Other signs of white space are words, at the ends too (UER takes them off there, and tags shift).
    """
    return text.strip(" ").split(" ")


def tagged(
    outputs: np.ndarray, batch: Batch, examples: Examples
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, row and predicted tag of every word whose tag a batch gives, int64 [m] each."""
    given = given_tags(batch, examples)
    word = examples.grid(examples.tokens["word"], batch.ids, -1)[given]
    row = np.broadcast_to(examples.labels["row"][batch.ids][:, None], given.shape)[given]
    return word, row, outputs[given].astype(np.int64)


def given_tags(batch: Batch, examples: Examples) -> np.ndarray:
    """bool [B, L], where the words stand whose tags the windows of a batch give."""
    return examples.grid(examples.tokens["word"], batch.ids, -1) >= 0


def word_pieces(tokenizer: Any, words: Sequence[str], *, apart: bool = False) -> Ragged:
    """The tokens of each word, cut once a distinct word; a word that gives none becomes the unknown token.

    Args:
        apart: blanks stand between the words, which some tokenizers see (`Tokenizer.encode_words`).
    """
    number = {word: place for place, word in enumerate(dict.fromkeys(words))}
    ids, offsets = (tokenizer.encode_words if apart else tokenizer.encode_batch)(list(number))
    sizes = np.diff(offsets)
    if not sizes.all():
        ids = np.insert(ids, offsets[:-1][sizes == 0], tokenizer.unk_id)
        sizes = np.maximum(sizes, 1)
        offsets = np.concatenate([[0], sizes.cumsum()])
    which = np.array([number[word] for word in words], np.int64)
    return ids[places_of(offsets[:-1][which], sizes[which])], np.concatenate([[0], sizes[which].cumsum()])


def surrounded(examples: Examples, before: Sequence[int], after: Sequence[int]) -> Examples:
    """The same rows between some ids."""

    def between(values: np.ndarray, first: Sequence[int], last: Sequence[int]) -> Examples:
        """Values of all tokens, [N], with others in front of and behind each row."""
        pieces = [*((value, 1) for value in first), ((values, examples.offsets), 1)]
        return join([*pieces, *((value, 1) for value in last)], sys.maxsize)

    rows, none = between(examples.ids, before, after), ([-1] * len(before), [-1] * len(after))
    rows.long, rows.labels = examples.long, examples.labels
    rows.tokens = {name: between(values, *none).ids for name, values in examples.tokens.items()}
    return rows


def read_tags(
    train_path: str | Path, label2id_path: str | None, companion: Companion | None = None
) -> LabelMap:
    """The tags: from a JSON file of ids, else those of the tagger to start from when it knows all tags of the
    training file (its head goes by them), else the training file's with that of padding behind them.

    Raises:
        DataError: the JSON file is no object of ids 0, 1, 2 …
    """
    if label2id_path is not None:
        return read_label2id(label2id_path)
    names = {tag for _, row in read_tsv(train_path, ("text_a", "label")) for tag in split(row["label"])}
    if not names:
        raise DataError("there is no row under the header.", path=train_path)
    known = [] if companion is None else list(companion.labels or ())
    if names <= set(known):
        return LabelMap(known, companion.folder)
    return LabelMap([*sorted(names, key=lambda name: (name != "O", name)), PAD], train_path)


def saved_tags(path: str, companion: Companion | None, label2id_path: str | None) -> LabelMap:
    """The tags of a saved model: its companion's, or those of a JSON file.

    Raises:
        ConfigError: neither is there, or they differ.
        CheckpointError: the model is of another task.
    """
    check_task(path, companion, NerTask.name)
    typed = None if label2id_path is None else read_label2id(label2id_path)
    saved = None if companion is None or companion.labels is None else LabelMap(companion.labels)
    if typed is None and saved is None:
        raise ConfigError("--label2id_path must be given: the model has no companion folder with its tags.")
    if None not in (typed, saved) and typed.names != saved.names:
        raise ConfigError(
            f"--label2id_path {label2id_path} has other tags ({listing(typed.names)}) than the model of "
            f"--load_model_path ({listing(saved.names)}); leave it out."
        )
    return saved or typed


def read_label2id(path: str | Path) -> LabelMap:
    """The tags of a JSON file {tag: id}, with that of padding behind them.

    Raises:
        DataError: missing, not JSON, or the ids are not 0, 1, 2 …, each once.
    """
    try:
        ids = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror}); name a file with --label2id_path.", path=path
        ) from error
    except ValueError as error:
        raise DataError(f"is not valid JSON ({error}); it holds {{tag: id}}.", path=path) from error
    values = list(ids.values()) if isinstance(ids, dict) else []
    whole = values and all(type(value) is int for value in values)
    if not whole or sorted(values) != list(range(len(values))):
        raise DataError(
            'must be an object of tags and their ids 0, 1, 2 …, each once, as in {"O": 0, "B-LOC": 1}.',
            path=path,
        )
    names = sorted(ids, key=ids.get)
    return LabelMap(names if names[-1] == PAD else [*names, PAD], path)
