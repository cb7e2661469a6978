"""How often each character or word comes in a corpus, counted by several processes."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain
from pathlib import Path

from uer.data.readers import BOM, encoding_error
from uer.data.sources import Source
from uer.data.spans import Span, lines_before, read_span, spans
from uer.errors import EnvironmentFault


def count_tokens(path: str | Path, delimiter: str, workers: int) -> dict[str, int]:
    """Token → count, in the order in which tokens are first seen, whatever the number of processes.

    Args:
        delimiter: "char" counts the characters of each stripped line, "space" what stands between blanks.
        workers: processes.

    Raises:
        DataError: missing, empty, or not UTF-8 (with line and byte offset).
        EnvironmentFault: a process died.
    """
    source = Source.of(path)
    work, jobs = partial(count_span, source, delimiter), spans([source], documents=False)
    total: Counter[str] = Counter()
    if workers == 1:
        for counts in map(work, jobs):
            total.update(counts)
        return total
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        try:
            for counts in pool.map(work, jobs):
                total.update(counts)
        except BrokenProcessPool as error:
            raise EnvironmentFault(
                "a worker process was killed (out of memory?); use fewer --workers_num."
            ) from error
    return total


def count_span(source: Source, delimiter: str, span: Span) -> Counter[str]:
    """The tokens of one piece of the corpus."""
    data = read_span(source, span)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = lines_before(source, span) + data.count(b"\n", 0, error.start) + 1
        raise encoding_error(source.path, line, span.start, error, data[:4]) from error
    if span.start == 0 and data.startswith(BOM):
        text = text[1:]
    lines = (line.strip() for line in text.split("\n"))
    tokens: Iterable[str] = "".join(lines) if delimiter == "char" else _words(lines)
    counts = Counter(tokens)
    counts.pop("", None)  # of blank lines and double blanks: nothing that an entry could stand for
    return counts


def _words(lines: Iterable[str]) -> Iterable[str]:
    return chain.from_iterable(line.split(" ") for line in lines)
