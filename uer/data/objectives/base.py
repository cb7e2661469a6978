"""What all objectives share: the text of one part of a corpus, encoded; rows of a batch; static masks."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from uer.config.preprocess import DATA_PROCESSORS, InstanceOptions, MaskingOptions
from uer.data.batch import IGNORE, Batch
from uer.data.masking import LOTS, Masker
from uer.data.ragged import gather, place, ragged_index, starts_of
from uer.data.similar import SimilarWords
from uer.data.store import Column, token_dtype

if TYPE_CHECKING:
    from uer.tokenizers.base import Tokenizer

Arrays = Mapping[str, np.ndarray]  # a store, or the arrays that will become one
MASK_ROWS = 512  # rows masked at once while a dataset is made


@dataclass(frozen=True)
class TokenIds:
    """What building and batching need to know of a tokenizer; stands in the header of a dataset."""

    name: str
    fingerprint: str
    vocab_size: int
    pad: int
    cls: int
    sep: int
    mask: int
    unk: int
    sentinels: tuple[int, ...] = ()

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> TokenIds:
        """Those of a tokenizer."""
        return cls(
            name=tokenizer.name,
            fingerprint=tokenizer.fingerprint(),
            vocab_size=tokenizer.vocab_size,
            pad=tokenizer.pad_id,
            cls=tokenizer.cls_id,
            sep=tokenizer.sep_id,
            mask=tokenizer.mask_id,
            unk=tokenizer.unk_id,
            sentinels=tuple(tokenizer.sentinel_ids),
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TokenIds:
        """From what `to_json` gave."""
        return cls(**{**values, "sentinels": tuple(values["sentinels"])})

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**dataclasses.asdict(self), "sentinels": list(self.sentinels)}

    @property
    def special(self) -> tuple[int, ...]:
        """Ids that are never hidden and never put in another token's place."""
        return (self.pad, self.cls, self.sep, self.mask)


@dataclass
class Part:
    """One part of a corpus, encoded.

    Attributes:
        ids, lengths: the texts, one after another, int32; each one's number of tokens.
        lines: each text's line number, counted from 1 at the beginning of the part.
        documents: int64 [D + 1], where each document begins among the texts (corpora of documents).
        own: the documents that belong to the part; what lies behind them may only be drawn from.
        second_ids, second_lengths: the second column (pairs); a length of -1 says the row has none.
        labels: int64, the labels (labelled corpora).
        spans: uint8 beside `ids`, the phrases and entities that the corpus names
            (`uer.data.knowledge.token_spans`).
        counts: what happened on the way: lines, skipped ones, ….
    """

    ids: np.ndarray
    lengths: np.ndarray
    lines: np.ndarray
    documents: np.ndarray | None = None
    own: int = 0
    second_ids: np.ndarray | None = None
    second_lengths: np.ndarray | None = None
    labels: np.ndarray | None = None
    spans: np.ndarray | None = None
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class Rows:
    """Rows of a batch, described: pieces of flat arrays, and single ids in between.

    Attributes:
        lengths: [B], tokens of each row.
        first: [B], how many of them belong to the first text; the others to the second.
        pieces: (column, start, length) of runs of tokens, each [B].
        literals: (column [B] or one for all, id).
    """

    lengths: np.ndarray
    first: np.ndarray
    pieces: list[tuple[np.ndarray | int, np.ndarray, np.ndarray]]
    literals: list[tuple[np.ndarray | int, int]] = field(default_factory=list)

    def tokens(self, values: np.ndarray, fill: int) -> np.ndarray:
        """The ids: int64 [B, longest row]."""
        out = self._filled(values, fill)
        every = np.arange(len(out))
        for column, number in self.literals:
            out[every, column] = number
        return out

    def beside(self, values: np.ndarray) -> np.ndarray:
        """Values that lie beside the tokens, 1 where there are none: int64 [B, longest row]."""
        return self._filled(values, 1)

    def _filled(self, values: np.ndarray, fill: int) -> np.ndarray:
        if len(self.pieces) == 1 and isinstance(self.pieces[0][0], int) and self.pieces[0][0] == 0:
            return gather(values, *self.pieces[0][1:], fill)  # the same, faster
        out = np.full((len(self.lengths), int(self.lengths.max(initial=0))), fill, np.int64)
        for column, starts, lengths in self.pieces:
            place(out, column, values, starts, lengths)
        return out

    def seg(self) -> np.ndarray:
        """Segment ids: 1 first text, 2 second text, 0 padding; int64 [B, longest row]."""
        columns = np.arange(int(self.lengths.max(initial=0)))
        real = columns < self.lengths[:, None]
        return real.astype(np.int64) + (real & (columns >= self.first[:, None]))


class Objective(ABC):
    """One data processor: from encoded text to arrays, from arrays to batches.

    Args:
        options: what the dataset holds.
        tokens: the tokenizer's ids.
        masking: how tokens are hidden, here when the dataset is static, else in `batch`.
        target_tokens: those of the target tokenizer, None: the same.

    Attributes:
        name: the data processor.
        corpus: what a line of the corpus is: "lines" (a document), "documents" (a sentence; an empty line
            parts documents), "labelled" (label, text, perhaps a second text), "pairs" (source, target).
    """

    name: str
    corpus: str

    def __init__(
        self,
        options: InstanceOptions,
        tokens: TokenIds,
        masking: MaskingOptions,
        target_tokens: TokenIds | None = None,
    ) -> None:
        self.options, self.tokens, self.masking = options, tokens, masking
        self.target_tokens = target_tokens or tokens

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that learn from these instances."""
        return DATA_PROCESSORS[self.name]

    @abstractmethod
    def columns(self) -> dict[str, Column]:
        """The arrays of the dataset; the first one has an element an instance."""

    @abstractmethod
    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """Instances of one part of the corpus.

        Args:
            rngs: a generator for each copy of the data.

        Raises:
            DataError: the part holds something that cannot become an instance.
        """

    @abstractmethod
    def batch(self, store: Arrays, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        """The instances `ids` as a batch; `rng` decides what is drawn anew each time."""

    def lengths(self, store: Arrays, ids: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Tokens of the instances, by which batches may be grouped."""
        return store["length"][ids]

    @property
    def token_dtype(self) -> str:
        """The type of token arrays."""
        return token_dtype(self.tokens.vocab_size)

    @property
    def target_token_dtype(self) -> str:
        """The type of arrays of target tokens."""
        return token_dtype(self.target_tokens.vocab_size)

    def run_columns(self) -> dict[str, Column]:
        """Arrays of an objective whose instances are runs of the token array."""
        return {"start": Column("<u8", "tokens"), "length": Column("<u4"), "tokens": Column(self.token_dtype)}


class MaskedObjective(Objective):
    """An objective that hides tokens: in advance (positions and replacements are stored), or at batch time.

    Attributes:
        lots: see `Masker`.
        find_words: ids → what is hidden together, the array `beside`; set by whoever builds such instances.
    """

    find_words: Callable[..., np.ndarray] | None = None
    lots = LOTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.masker = Masker(
            self.masking,
            mask_id=self.tokens.mask,
            special_ids=self.tokens.special,
            vocab_size=self.tokens.vocab_size,
            lots=self.lots,
        )

    @property
    def static(self) -> bool:
        """Whether the masks are part of the dataset."""
        return not self.options.dynamic_masking

    def know_similar(self, tokenizer: Tokenizer) -> None:
        """Read the similar words that the masking options name; whoever draws masks calls it before.

        Raises:
            DataError: see `SimilarWords`.
        """
        if self.masking.similar_words_path:
            self.masker.similar = SimilarWords(self.masking.similar_words_path, tokenizer)

    @abstractmethod
    def rows(self, arrays: Arrays, ids: np.ndarray) -> Rows:
        """The instances as rows without masks."""

    @property
    def beside(self) -> str | None:
        """The array beside the tokens that says what is hidden together; None: each token for itself."""
        if self.masking.knowledge_masking:
            return "knowledge"
        return "word" if self.masking.whole_word_masking else None

    def mask_columns(self) -> dict[str, Column]:
        """What is hidden together, when it is not single tokens; and static masks: for each instance a run of
        (position in the row, what the model sees there)."""
        words = {self.beside: Column("<u1")} if self.beside else {}
        if not self.static:
            return words
        return {
            **words,
            "mask_start": Column("<u8", "mask_position"),
            "mask_length": Column("<u4"),
            "mask_position": Column("<u2" if self.options.seq_length <= 1 << 16 else "<u4"),
            "mask_token": Column(self.token_dtype),
        }

    def mask_arrays(
        self,
        arrays: Arrays,
        copies: Sequence[np.ndarray],
        rngs: Sequence[np.random.Generator],
        spans: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """The arrays of `mask_columns`; the masks are those of the instances `copies[i]`, drawn with
        `rngs[i]`.

        Args:
            spans: beside the tokens, the phrases and entities that the corpus named.
        """
        found = {}
        if self.beside:
            assert self.find_words is not None, "what is hidden together needs a finder"
            given = (arrays["tokens"],) if spans is None else (arrays["tokens"], spans)
            found = {self.beside: self.find_words(*given)}
            arrays = {**arrays, **found}
        if not self.static:
            return found
        lengths, positions, replacements = [], [], []
        for ids, rng in zip(copies, rngs):
            for start in range(0, len(ids), MASK_ROWS):
                rows = self.rows(arrays, ids[start : start + MASK_ROWS])
                src, words = self._unmasked(arrays, rows)
                places, hidden = self.masker.draw(src, rows.lengths, rng, words)
                row, column = np.divmod(places, src.shape[1])
                lengths.append(np.bincount(row, minlength=len(src)))
                positions.append(column)
                replacements.append(hidden)
        mask_length = np.concatenate(lengths or [np.zeros(0, np.int64)])
        return {
            **found,
            "mask_start": starts_of(mask_length),
            "mask_length": mask_length,
            "mask_position": np.concatenate(positions or [np.zeros(0, np.int64)]),
            "mask_token": np.concatenate(replacements or [np.zeros(0, np.int64)]),
        }

    def _unmasked(self, arrays: Arrays, rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
        """The rows [B, L], and what is hidden together in them."""
        src = rows.tokens(arrays["tokens"], self.tokens.pad)
        return src, rows.beside(arrays[self.beside]) if self.beside else None

    def masked(
        self, store: Arrays, ids: np.ndarray, rows: Rows, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """src and labels [B, L], with the masks of the dataset or with new ones."""
        if not self.static:
            src, words = self._unmasked(store, rows)
            return self.masker(src, rows.lengths, rng, words)
        src = rows.tokens(store["tokens"], self.tokens.pad)
        labels = np.full(src.shape, IGNORE)
        counts = store["mask_length"][ids].astype(np.int64)
        index = ragged_index(store["mask_start"][ids], counts)
        row, column = np.repeat(np.arange(len(ids)), counts), store["mask_position"][index]
        labels[row, column] = src[row, column]
        src[row, column] = store["mask_token"][index]
        return src, labels
