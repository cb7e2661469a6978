"""PEGASUS: sentences are taken out of a document and asked for (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.objectives.base import Part
from uer.data.objectives.bert import Documents
from uer.data.objectives.seq2seq import TwoSequences
from uer.data.overflow import limit_texts
from uer.data.ragged import ragged_arange, ragged_index, starts_of, wrap


class Gsg(TwoSequences):
    """Three of ten sentences go to the target, each leaving a mask in the source; both `[CLS] … [SEP]`.

    The document is walked in order; where the next piece fits neither side, an instance ends. Instances
    with an empty side are left out. All documents are walked at once, an instance of each a round.
    """

    name = "gsg"
    corpus = "documents"

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        room = min(self.options.seq_length, self.options.tgt_seq_length) - 3
        part = limit_texts(part, room, self.options.on_overflow)
        documents = Documents.of(part)
        passes = [self._pass(part.ids, documents, rng) for rng in rngs]
        tokens, lengths, tgt_tokens, tgt_lengths = (np.concatenate(field) for field in zip(*passes))
        return {
            "start": starts_of(lengths),
            "length": lengths,
            "tgt_start": starts_of(tgt_lengths),
            "tgt_length": tgt_lengths,
            "tokens": tokens,
            "tgt_tokens": tgt_tokens,
        }

    def _chosen(self, documents: Documents, rng: np.random.Generator) -> np.ndarray:
        """Which sentences go to the target: bool [S]. "lead": the first ones; "random": any but the last."""
        sizes = np.diff(documents.borders)
        wanted = np.repeat(np.rint(0.3 * sizes).astype(np.int64), sizes)
        place = ragged_arange(sizes)
        if self.options.sentence_selection_strategy == "lead":
            return place < wanted
        keys = rng.random(len(place))
        keys[documents.borders[1:] - 1] = 1  # the last one of each document comes last
        order = np.lexsort((keys, np.repeat(np.arange(len(sizes)), sizes)))
        chosen = np.zeros(len(place), bool)
        chosen[order] = place < wanted
        return chosen

    def _pass(
        self, ids: np.ndarray, documents: Documents, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source tokens and lengths, target tokens and lengths of one copy of the data."""
        chosen, sizes = self._chosen(documents, rng), np.diff(documents.offsets)
        # Pieces of the source: a sentence, or one mask in its place.
        pieces = np.where(chosen, 1, sizes)
        source = np.full(int(pieces.sum()), self.tokens.mask, np.int32)
        open_starts, left = starts_of(pieces)[~chosen], ~chosen
        source[ragged_index(open_starts, sizes[left])] = ids[
            ragged_index(documents.offsets[:-1][left], sizes[left])
        ]
        target = ids[ragged_index(documents.offsets[:-1][chosen], sizes[chosen])]
        source_at = np.append(starts_of(pieces), len(source))
        target_at = np.concatenate(([0], np.cumsum(np.where(chosen, sizes, 0))))
        begin, end = self._walk(documents, source_at, target_at)
        source_size = source_at[end] - source_at[begin]
        target_size = target_at[end] - target_at[begin]
        both = (source_size > 0) & (target_size > 0)
        begin, source_size, target_size = begin[both], source_size[both], target_size[both]
        mask_only = source[ragged_index(source_at[begin], source_size)]
        marks = self.tokens.cls, self.tokens.sep
        return (
            *wrap(mask_only, source_size, *marks),
            *wrap(target[ragged_index(target_at[begin], target_size)], target_size, *marks),
        )

    def _walk(
        self, documents: Documents, source_at: np.ndarray, target_at: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """First sentence of each instance and the one behind its last: int64 [n] each."""
        active = np.arange(len(documents.borders) - 1)
        begin = documents.borders[:-1].copy()
        begins, ends = [], []
        while len(active):
            # Strictly less than seq_length - 2 tokens, as UER.
            source = (
                np.searchsorted(source_at, source_at[begin] + self.options.seq_length - 3, side="right") - 1
            )
            target = (
                np.searchsorted(target_at, target_at[begin] + self.options.tgt_seq_length - 3, side="right")
                - 1
            )
            end = np.minimum(np.minimum(source, target), documents.borders[active + 1])
            begins.append(begin)
            ends.append(end)
            going = end < documents.borders[active + 1]
            active, begin = active[going], end[going]
        empty = [np.zeros(0, np.int64)]
        return np.concatenate(begins or empty), np.concatenate(ends or empty)
