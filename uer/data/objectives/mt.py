"""Translation: from one text to another, each with its own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uer.data.objectives.base import Part
from uer.data.objectives.seq2seq import TwoSequences
from uer.data.overflow import over_length
from uer.data.ragged import starts_of, wrap


class Mt(TwoSequences):
    """Source `[CLS] s [SEP]` cut at `seq_length`, target `[CLS] t [SEP]` cut at `tgt_seq_length` + 1.

    A pair with an empty side is left out.
    """

    name = "mt"
    corpus = "pairs"

    def build(self, part: Part, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """See `Objective.build`."""
        ours, theirs = self.tokens, self.target_tokens
        tokens, lengths = wrap(part.ids, part.lengths, ours.cls, ours.sep)
        tgt_tokens, tgt_lengths = wrap(part.second_ids, part.second_lengths, theirs.cls, theirs.sep)
        longest, tgt_longest = self.options.seq_length, self.options.tgt_seq_length + 1
        empty = (part.lengths == 0) | (part.second_lengths == 0)
        part.counts["empty_sides"] = int(empty.sum())
        kept = over_length(part, lengths, longest, self.options.on_overflow)
        kept &= over_length(part, tgt_lengths, tgt_longest, self.options.on_overflow) & ~empty
        return {
            "start": starts_of(lengths)[kept],
            "length": np.minimum(lengths, longest)[kept],
            "tgt_start": starts_of(tgt_lengths)[kept],
            "tgt_length": np.minimum(tgt_lengths, tgt_longest)[kept],
            "tokens": tokens,
            "tgt_tokens": tgt_tokens,
        }
