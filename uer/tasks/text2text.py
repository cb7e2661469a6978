"""A text for a text: `label text_a [text_b] [prefix]`, the label being the wanted text.

The model is an encoder-decoder with the target lm, so one that was pre-trained as such starts without new
parts. The decoder writes with keys and values kept (`uer.generation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uer.config.generation import DecodingOptions
from uer.config.model import ModelConfig
from uer.data.batch import IGNORE, Batch
from uer.errors import ConfigError
from uer.generation.generate import Generator
from uer.metrics import TextMatch
from uer.models.build import build_model
from uer.models.model import Inputs, Model
from uer.tasks.overflow import CUT, settle_rows
from uer.tasks.rows import Examples, encode_texts, join
from uer.tasks.table import read_table
from uer.utils.logging import logger

NOTHING = -1
"""stands behind the last token of a written text"""


class Text2textModel(Model):
    """An encoder-decoder that also writes.

    Args:
        whole: the model with its target lm.
        tokenizer: of both sides.
        length: most tokens of a target, `[CLS]` and `[SEP]` included.
        decoding: how it writes.
    """

    def __init__(self, whole: Model, tokenizer: Any, *, length: int, decoding: DecodingOptions) -> None:
        super().__init__(
            whole.config,
            embedding=whole.embedding,
            encoder=whole.encoder,
            tgt_embedding=whole.tgt_embedding,
            decoder=whole.decoder,
            target=whole.target,
        )
        self.writer = Generator(self, tokenizer, decoding, length=length)

    def predict(self, inputs: Inputs) -> Tensor:
        """The ids of the text for each source, int64 [B, T], `NOTHING` behind the last."""
        lengths = (inputs["seg"] > 0).sum(dim=1).tolist()
        prompts = [row[:length] for row, length in zip(inputs["src"].tolist(), lengths)]
        written = [torch.tensor(texts[0].ids, dtype=torch.int64) for texts in self.writer(prompts)]
        return torch.nn.utils.rnn.pad_sequence(written, batch_first=True, padding_value=NOTHING)


@dataclass
class Pairs(Examples):
    """Sources as rows.

    Attributes:
        target: rows of the wanted texts; None when they are to be predicted.
        wanted: these texts as they stand in the file.
    """

    target: Examples | None = None
    wanted: list[str] = field(default_factory=list)

    def take(self, rows: np.ndarray) -> Pairs:
        """See `Examples.take`."""
        return Pairs(
            **vars(super().take(rows)),
            target=None if self.target is None else self.target.take(rows),
            wanted=[self.wanted[row] for row in rows] if self.wanted else [],
        )


class Text2textTask:
    """What a text-to-text model reads, learns from, and scores.

    Args:
        tokenizer: of both sides.
        seq_length, tgt_seq_length: sources and targets are cut at so many ids.
        prefix: stands before every source; a column `prefix` gives each row its own behind it.
        beam_size, length_penalty: of the search when it writes.
        overflow: what happens to training rows that are longer; not "window".

    Raises:
        ConfigError: `overflow` is "window".
    """

    name = "text2text"

    def __init__(
        self,
        tokenizer: Any,
        *,
        seq_length: int,
        tgt_seq_length: int,
        prefix: str = "",
        beam_size: int = 1,
        length_penalty: float = 1.0,
        overflow: str = "truncate",
    ) -> None:
        if overflow == "window":
            raise ConfigError(
                "--overflow window: the windows of a source would each want the whole target, and texts have "
                "no mean; choose truncate, drop or error."
            )
        self.tokenizer, self.overflow = tokenizer, overflow
        self.seq_length, self.tgt_seq_length = seq_length, tgt_seq_length
        self.prefix, self.beam_size, self.length_penalty = prefix, beam_size, length_penalty
        self.lower = bool(tokenizer.settings().get("do_lower_case"))
        self.prefixed = False
        """whether rows of training had a prefix of their own"""

    def model(self, config: ModelConfig) -> Text2textModel:
        """The model of a configuration.

        Raises:
            ConfigError: it has no decoder, or fewer positions than a target has tokens.
        """
        if config.decoder is None:
            raise ConfigError("text to text needs an encoder-decoder: give --decoder transformer.")
        decoding = DecodingOptions(
            top_k=1,
            beam_size=self.beam_size,
            length_penalty=self.length_penalty,
            stop=(self.tokenizer.special.required()["sep"],),
            seed=0,
        )
        whole = build_model(config.replace(target=("lm",)), len(self.tokenizer))
        return Text2textModel(whole, self.tokenizer, length=self.tgt_seq_length, decoding=decoding)

    def read(self, path: str | Path, *, training: bool = False) -> Pairs:
        """A labelled file as pairs.

        Raises:
            DataError: a fault of the file; with `--overflow error` a row that is too long.
        """
        table = read_table(path, ("label", "text_a"), ("text_b", "prefix"))
        self.prefixed |= training and any(row.get("prefix") for row in table.rows)
        examples = self.encode(table.rows)
        examples.wanted = [text.lower() if self.lower else text for text in table.column("label")]
        frame, wanted = self.tokenizer.frame, self.tokenizer.encode_batch(examples.wanted)
        # What a decoder begins with may be what stands in front of a text anyway ([CLS]); BART has both.
        before = [frame.start, *(frame.before if frame.before != (frame.start,) else ())]
        pieces = [*((number, 1) for number in before), (wanted, 1), *((number, 1) for number in frame.after)]
        examples.target = join(pieces, self.tgt_seq_length)
        count = int(examples.target.long.sum())
        cut = not training or self.overflow == "truncate"
        if count:
            logger.warning(
                f"{path}: {count} of {len(examples)} labels are longer than --tgt_seq_length "
                f"{self.tgt_seq_length} tokens; {CUT if cut else 'their rows count as too long'}."
            )
        if not cut:
            examples.long |= examples.target.long
        return settle_rows(examples, table, self.overflow, training, seq_length=self.seq_length)

    def encode(self, rows: Sequence[Mapping[str, str]]) -> Pairs:
        """`[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`, or what a folder puts around texts, all of the first
        segment, cut on the right.
        """
        sources = [{**row, "text_a": self.prefix + row.get("prefix", "") + row["text_a"]} for row in rows]
        examples = encode_texts(self.tokenizer, sources, seq_length=self.seq_length)
        examples.seg[:] = 1
        return Pairs(**vars(examples))

    def collate(self, examples: Pairs, rows: np.ndarray) -> Batch:
        """A batch of some of the pairs; each token of a target is predicted from those before it."""
        inputs = examples.padded(rows, self.tokenizer.pad_id)
        if examples.target is None:
            return Batch(inputs=inputs, labels={}, counts={}, ids=rows)
        target = examples.target.padded(rows, self.tokenizer.pad_id)
        follows = target["seg"][:, 1:] > 0
        inputs["tgt_in"] = np.where(follows, target["src"][:, :-1], self.tokenizer.pad_id)
        inputs["tgt_seg"] = follows.astype(np.int64)
        labels = {"lm": np.where(follows, target["src"][:, 1:], IGNORE)}
        return Batch(inputs=inputs, labels=labels, counts={"lm": int(follows.sum())}, ids=rows)

    def metric(self, settled: bool = False) -> TextMatch:
        """A fresh metric."""
        return TextMatch()

    def score(self, metric: TextMatch, outputs: np.ndarray, batch: Batch, examples: Pairs) -> None:
        """Feed the ids [B, T] that were written for a batch to a metric."""
        ends = {IGNORE, self.tokenizer.sep_id}
        for text, gold, number in zip(self.texts(outputs), batch.labels["lm"].tolist(), batch.ids):
            wanted = self._text([token for token in gold if token not in ends])
            metric.update(text == wanted, text, examples.wanted[number])

    def texts(self, outputs: np.ndarray) -> list[str]:
        """The texts of ids [B, T], in one line each."""
        return [self._text(row[row != NOTHING].astype(np.int64).tolist()) for row in outputs]

    def _text(self, ids: list[int]) -> str:
        return " ".join(self.tokenizer.decode(ids).split())

    def saved(self) -> dict[str, Any]:
        """What the companion folder keeps for prediction."""
        names = ("seq_length", "tgt_seq_length", "prefix", "beam_size", "length_penalty")
        kept = {name: getattr(self, name) for name in names}
        return {"labels": None, "extra": {"task": self.name, "prefixed": self.prefixed, **kept}}
