"""One span of a corpus → one small dataset file, whichever process does it and in whatever order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uer.config.preprocess import TWO_TOKENIZERS, InstanceOptions, MaskingOptions
from uer.data.decode import decode_lines
from uer.data.knowledge import KnowledgeFinder, count_knowledge, token_spans
from uer.data.objectives import OBJECTIVES
from uer.data.objectives.base import MaskedObjective, Objective, Part, TokenIds
from uer.data.random import generator
from uer.data.records import Records, of_fields, of_plain
from uer.data.sentiment import SentimentFinder, count_sentiment
from uer.data.sources import Source
from uer.data.spans import Span, lines_before, read_span, spans
from uer.data.store import write_arrays
from uer.data.words import Finder, WordFinder
from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.utils.lazy import pick_class

# Array beside the tokens → how often there is what a list was to find.
FOUND = {"knowledge": count_knowledge, "sentiment": count_sentiment}


def make_objective(
    options: InstanceOptions,
    tokens: TokenIds,
    masking: MaskingOptions,
    target_tokens: TokenIds | None = None,
) -> Objective:
    """The objective that `options.data_processor` names."""
    chosen = pick_class(options.data_processor, OBJECTIVES, "--data_processor")
    return chosen(options, tokens, masking, target_tokens)


@dataclass
class PartBuilder:
    """Builds parts; called with a span, writes its file.

    Attributes:
        sources: the files of the corpus.
        options, masking: what the instances are.
        tokenizer, target_tokenizer: text → ids.
        encoding_errors: what to do with bytes that are not UTF-8.
        folder: where the parts are written.
    """

    sources: list[Source]
    options: InstanceOptions
    masking: MaskingOptions
    tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    encoding_errors: str
    folder: Path

    def __post_init__(self) -> None:
        self.objective = make_objective(
            self.options,
            TokenIds.of(self.tokenizer),
            self.masking,
            TokenIds.of(self.target_tokenizer),
        )
        if isinstance(self.objective, MaskedObjective) and self.objective.beside:
            finder = self._finder()
            finder.prepare()
            self.objective.find_words = finder
        if isinstance(self.objective, MaskedObjective) and self.objective.static:
            self.objective.know_similar(self.tokenizer)

    def _finder(self) -> Finder:
        """What says of tokens which of them are hidden together."""
        if self.objective.beside == "sentiment":
            return SentimentFinder(self.tokenizer, self.options)
        if self.masking.knowledge_masking:
            return KnowledgeFinder(self.tokenizer, self.masking.knowledge_path)
        return WordFinder(self.tokenizer)

    def path(self, index: int) -> Path:
        """The file of part `index`."""
        return self.folder / f"{index:08d}.part"

    def spans(self) -> Iterator[Span]:
        """The spans of the corpus."""
        return spans(self.sources, self.objective.corpus == "documents")

    def __call__(self, span: Span) -> None:
        """Build and write one part.

        Raises:
            DataError: with file and line, when the text is at fault.
        """
        source = self.sources[span.source]
        try:
            self._build(source, span)
        except DataError as error:
            if error.line is None:
                raise DataError(error.message, path=error.path or source.path) from error
            line = lines_before(source, span) + error.line
            raise DataError(error.message, path=source.path, line=line) from error

    def _build(self, source: Source, span: Span) -> None:
        records, fault = self._read(source, span)
        part = self._encode(records)
        if part.documents is not None and part.own == 1:
            self._add_partners(part, span)
        rngs = [
            generator(self.options.seed, "build", span.index, copy) for copy in range(self.options.copies)
        ]
        columns = self.objective.columns()
        arrays = self.objective.build(part, rngs)
        for name, count in FOUND.items():
            if name in columns:
                part.counts.update(count(arrays[name]))
        first_skipped = records.first_skipped
        if first_skipped is not None:
            first_skipped += lines_before(source, span)
        header = {
            "objective": self.objective.name,
            "instances": len(arrays[next(iter(columns))]),
            "source": span.source,
            "bytes": span.cost,
            "counts": {**part.counts, "cut_documents": int(span.cut)},
            "first_fault": fault,
            "first_skipped": first_skipped,
            "labels_num": 0 if part.labels is None else int(part.labels.max(initial=-1)) + 1,
        }
        write_arrays(self.path(span.index), header, columns, arrays, sync=False)

    def _read(self, source: Source, span: Span) -> tuple[Records, int | None]:
        data = read_span(source, span)
        lines = decode_lines(data, errors=self.encoding_errors, path=source.path, offset=span.start)
        kind = self.objective.corpus
        if source.plain:
            return of_plain(lines, kind), lines.first_fault
        header = source.columns is not None and span.start == 0
        spans = self.masking.knowledge_masking and isinstance(self.objective, MaskedObjective)
        records = of_fields(
            lines, kind, source.columns, errors=self.encoding_errors, skip_first=header, spans=spans
        )
        return records, lines.first_fault

    def _encode(self, records: Records) -> Part:
        """Records as ids; documents of no tokens (control characters only) are left out of corpora of
        lines."""
        ids, offsets = self.tokenizer.encode_batch(records.texts)
        part = Part(ids, np.diff(offsets), records.lines, records.documents, counts=records.counts)
        if records.spans is not None:
            part.spans, lost = token_spans(self.tokenizer, records.texts, records.spans, ids, offsets)
            part.counts["lost_spans"] = lost
        if records.documents is not None:
            part.own = len(records.documents) - 1
        elif self.objective.corpus == "lines" and not part.lengths.all():
            kept = part.lengths > 0
            part.lengths, part.lines = part.lengths[kept], part.lines[kept]
        if records.seconds is not None:
            texts = [text for text in records.seconds if text is not None]
            two = self.options.data_processor in TWO_TOKENIZERS
            second = self.target_tokenizer if two else self.tokenizer
            part.second_ids, offsets = second.encode_batch(texts)
            present = np.array([text is not None for text in records.seconds], bool)
            part.second_lengths = np.full(len(present), -1)
            part.second_lengths[present] = np.diff(offsets)
        if records.labels is not None:
            part.labels = np.array(records.labels, np.int64)
        part.counts["tokens"] = len(part.ids) + (0 if part.second_ids is None else len(part.second_ids))
        return part

    def _add_partners(self, part: Part, span: Span) -> None:
        """Another document behind the only one of this part, taken from the nearest span that has one."""
        for other in self._others(span):
            records, _ = self._read(self.sources[other.source], other)
            if len(records.documents) < 2:
                continue
            size = int(records.documents[1])
            ids, offsets = self.tokenizer.encode_batch(records.texts[:size])
            if len(ids) == 0:
                continue
            part.ids = np.concatenate((part.ids, ids))
            if part.spans is not None:
                part.spans = np.concatenate((part.spans, np.zeros(len(ids), np.uint8)))
            part.lengths = np.concatenate((part.lengths, np.diff(offsets)))
            part.lines = np.append(part.lines, np.zeros(size, np.int64))
            part.documents = np.append(part.documents, part.documents[-1] + size)
            return

    def _others(self, span: Span) -> Iterator[Span]:
        """The other spans, those behind `span` first."""
        yield from (other for other in self.spans() if other.index > span.index)
        yield from (other for other in self.spans() if other.index < span.index)
