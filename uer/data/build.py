"""`preprocess.py` in one function: a corpus → parts, made by several processes → one dataset file.

Header of a dataset, besides `arrays` and `size`:

    objective   the data processor
    instances   how many
    options     `InstanceOptions` as JSON
    masking     `MaskingOptions` as JSON when masks are part of the dataset, else null
    tokenizer, target_tokenizer   `TokenIds` as JSON; the second only when it is another one
    counts      lines, documents, tokens, and everything that was skipped, cut or replaced
    sources     of each file its name, its bytes, its first instance and how many it gave
    mixture     of each word of --corpus_path its first instance, how many there are, and its share; or null
    labels_num  one more than the largest label (labelled corpora)
    program     the version that wrote it

The same text and options give the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uer import __version__
from uer.config.options import Options
from uer.config.preprocess import InstanceOptions, MaskingOptions, PreprocessOptions
from uer.data.objectives.base import MaskedObjective, TokenIds
from uer.data.objectives.bert import ONE_DOCUMENT
from uer.data.parts import PartBuilder, make_objective
from uer.data.progress import ByteProgress
from uer.data.sources import Source, find_sources
from uer.data.spans import LONGEST, SPAN, Span
from uer.data.store import VERSION, Store, merge_stores
from uer.data.workers import run_jobs
from uer.errors import DataError, EnvironmentFault
from uer.tokenizers.base import Tokenizer
from uer.utils.files import require_file, sha256, write_fault
from uer.utils.logging import logger

OUTCOMES = {"truncate": "cut", "split": "split", "drop": "left out", "error": "refused"}

# Counts of what lists were to find → what to say when there is none.
NOTHING_FOUND = {
    ("entities", "phrases"): (
        "no entity or phrase was found in the text, so --knowledge_masking would hide single tokens only; "
        "give a list that fits it with --knowledge_path, or a corpus with the field spans."
    ),
    ("sentiment_words", "sentiment_pairs"): (
        "no sentiment word was found in the text; give a list that fits it with --sentiment_path."
    ),
}


@dataclass
class Built:
    """What a run made.

    Attributes:
        header: the header of the dataset.
        seconds: how long it took, from the first byte read to the dataset on the disk.
        memory: the most that one process held, in bytes.
        resumed: parts that an earlier run had finished.
    """

    header: dict[str, Any]
    seconds: float
    memory: int
    resumed: int


def build_dataset(
    files: PreprocessOptions,
    options: InstanceOptions,
    masking: MaskingOptions,
    tokenizer: Tokenizer,
    target_tokenizer: Tokenizer | None = None,
) -> Built:
    """Make a dataset file.

    Raises:
        DataError: the corpus is missing, empty, at fault (with line), or gives no instance.
        EnvironmentFault: disk full, folder read-only, a worker killed, or another run at the same work.
    """
    sources = find_sources(files.corpus_path)
    target_tokenizer = target_tokenizer or tokenizer
    header = _describe(options, masking, tokenizer, target_tokenizer)
    lists = _digests(masking, "knowledge_path", "similar_words_path")
    lists += _digests(options, "sentiment_path", "pair_path")
    with _part_folder(files, sources, header, masking.to_dict(), lists) as folder:
        builder = PartBuilder(
            sources, options, masking, tokenizer, target_tokenizer, files.encoding_errors, folder
        )
        started = time.monotonic()
        built = _build_parts(builder, files.processes_num)
        parts = [builder.path(index) for index in range(_count(builder))]
        header = {**header, **_join_headers(parts, sources, options)}
        header["mixture"] = _mixture(sources, header["sources"], files.corpus_weights)
        merge_stores(parts, files.dataset_path, header)
        built.seconds = time.monotonic() - started
        built.header = Store(files.dataset_path).header
        shutil.rmtree(folder)
    _remove_stale(Path(files.dataset_path))
    return built


def _digests(options: Options, *names: str) -> list[str]:
    """Checksums of the lists that options name."""
    return [
        sha256(require_file(path, "list", f"--{name}")) for name in names for path in getattr(options, name)
    ]


def _describe(
    options: InstanceOptions, masking: MaskingOptions, tokenizer: Tokenizer, target_tokenizer: Tokenizer
) -> dict[str, Any]:
    """The part of the header that is known before the corpus is read."""
    own_target = target_tokenizer is not tokenizer
    tokens, target_tokens = TokenIds.of(tokenizer), TokenIds.of(target_tokenizer)
    objective = make_objective(options, tokens, masking, target_tokens)
    static = isinstance(objective, MaskedObjective) and objective.static
    return {
        "objective": options.data_processor,
        "instances": 0,
        "options": options.to_dict(),
        "masking": masking.to_dict() if static else None,
        "tokenizer": tokens.to_json(),
        "target_tokenizer": target_tokens.to_json() if own_target else None,
        "program": __version__,
    }


@contextlib.contextmanager
def _part_folder(files: PreprocessOptions, sources: list[Source], *settings: Any) -> Iterator[Path]:
    """A hidden folder beside the dataset for its parts; the same work finds it again, other work does not.

    It stays when the run is ended or the machine fails it, and the same command goes on with what it holds;
    where the text is at fault it goes. A lock keeps a second run at the same work away.
    """
    stamps = [(str(s.path.resolve()), s.size, s.path.stat().st_mtime_ns) for s in sources]
    work = json.dumps([VERSION, SPAN, LONGEST, stamps, files.encoding_errors, settings], sort_keys=True)
    key = hashlib.sha256(work.encode()).hexdigest()[:12]
    dataset = Path(files.dataset_path)
    folder = dataset.with_name(f".{dataset.name}.{key}.parts")
    if dataset.is_dir():
        raise EnvironmentFault(f"{dataset}: this is a folder; give a file name with --dataset_path.")
    if dataset.exists() and not dataset.is_file():
        raise EnvironmentFault(f"{dataset}: this is no file; give the name of one with --dataset_path.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EnvironmentFault(
                    f"{dataset}: another preprocess.py is making this very dataset; wait for it, or end it."
                ) from None
            try:
                yield folder
            except DataError:
                shutil.rmtree(folder)  # the text has to be mended, and then it is other work
                raise
    except OSError as error:
        raise write_fault(dataset, error) from error


def _remove_stale(dataset: Path) -> None:
    """Remove what earlier runs into this dataset left that had other text or options and did not end."""
    for folder in dataset.parent.glob(f".{glob.escape(dataset.name)}.*.parts"):
        with contextlib.suppress(OSError), open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # else it is being worked on
            shutil.rmtree(folder)


def _count(builder: PartBuilder) -> int:
    """How many parts there are, all of which lie in the folder now."""
    return sum(1 for _ in builder.folder.glob("*.part"))


def _finished(builder: PartBuilder) -> set[int]:
    """Parts of an earlier run that are whole; damaged ones are removed."""
    done = set()
    for path in builder.folder.glob("*.part"):
        try:
            Store(path).verify()
            done.add(int(path.stem))
        except DataError:
            path.unlink()
    return done


def _build_parts(builder: PartBuilder, processes: int) -> Built:
    """Make all parts that are not there yet."""
    done = _finished(builder)
    total = sum(source.size for source in builder.sources)
    before = sum(Store(builder.path(index)).header["bytes"] for index in done)
    if done:
        logger.info(f"An earlier run was cut off: {before / 1e6:,.0f} of {total / 1e6:,.0f} MB are done.")
    progress, memory = ByteProgress(total, before), 0
    waiting = (span for span in builder.spans() if span.index not in done)

    def describe(span: Span) -> str:
        """What a worker that was killed was at."""
        return f"bytes {span.start:,} to {span.end:,} of {builder.sources[span.source].path}"

    try:
        for finished in run_jobs(builder, waiting, processes, describe):
            memory = max(memory, finished.memory)
            progress.advance(finished.job.cost, memory)
    finally:
        progress.close()
    return Built({}, 0.0, memory, len(done))


def _join_headers(parts: list[Path], sources: list[Source], options: InstanceOptions) -> dict[str, Any]:
    """Counts over all parts, and what is to be said about the text."""
    counts: Counter = Counter()
    files = [
        {"name": source.path.name, "bytes": source.size, "first": 0, "instances": 0} for source in sources
    ]
    first: dict[str, tuple[Source, int]] = {}
    instances = labels_num = 0
    for path in parts:
        header = Store(path).header
        source, file = sources[header["source"]], files[header["source"]]
        if file["instances"] == 0:
            file["first"] = instances
        file["instances"] += header["instances"]
        instances += header["instances"]
        counts.update(header["counts"])
        labels_num = max(labels_num, header["labels_num"])
        if header["first_fault"] is not None:
            first.setdefault("fault", (source, header["first_fault"]))
        if header["first_skipped"] is not None:
            first.setdefault("skipped", (source, header["first_skipped"]))
    paired = options.data_processor in ("bert", "structbert")
    if paired and 0 < counts["documents"] <= counts["cut_documents"] + 1:
        raise DataError(ONE_DOCUMENT.format(options.data_processor), path=sources[0].path)
    _warn(counts, first, options)
    if instances == 0:
        raise _no_instances(sources, counts, options)
    for names, message in NOTHING_FOUND.items():
        if counts.keys() & set(names) and not sum(counts[name] for name in names):
            raise DataError(message, path=sources[0].path)
    found = {"instances": instances, "counts": dict(sorted(counts.items())), "sources": files}
    return {**found, "labels_num": labels_num} if labels_num else found


def _mixture(
    sources: list[Source], files: list[dict[str, Any]], weights: Sequence[float]
) -> list[dict[str, Any]] | None:
    """Of each word of `--corpus_path` its first instance, how many there are, and its share; None without
    shares.

    Raises:
        DataError: a part of the mixture gave no instance.
    """
    if not weights:
        return None
    mixture = []
    for group, weight in enumerate(weights):
        members = [file for source, file in zip(sources, files) if source.group == group]
        instances = sum(file["instances"] for file in members)
        if instances == 0:
            path = next(source.path for source in sources if source.group == group)
            raise DataError("gave no instance, so it cannot have a share; leave it out.", path=path)
        first = min(file["first"] for file in members if file["instances"])
        mixture.append({"first": first, "instances": instances, "share": weight / sum(weights)})
    return mixture


def _warn(counts: Counter, first: dict[str, tuple[Source, int]], options: InstanceOptions) -> None:
    """Say what was left out, cut or replaced, and where first."""
    if "fault" in first:
        source, offset = first["fault"]
        skipped, replaced = counts["skipped_lines"], counts["replaced_bytes"]
        what = (
            f"{skipped:,} lines that are not UTF-8 were skipped"
            if skipped
            else (f"{replaced:,} U+FFFD were put in the place of bytes that are not UTF-8")
        )
        logger.warning(f"{source.path}: {what}; the first at byte {offset:,}.")
    if counts["malformed_lines"]:
        source, line = first["skipped"]
        logger.warning(
            f"{source.path}: {counts['malformed_lines']:,} lines do not have the columns of this data "
            f"processor and were skipped; the first is line {line:,}."
        )
    for name, text in (
        ("nul_characters", "{:,} NUL characters were dropped."),
        (
            "cut_documents",
            "{:,} lines or documents longer than 8 MiB were cut. Are documents parted as they should?",
        ),
        ("lost_spans", "{:,} spans do not lie between whole tokens and were left out."),
        (
            "over_length",
            f"{{:,}} texts were longer than an instance and were {OUTCOMES[options.on_overflow]}.",
        ),
        ("long_sources", "{:,} pairs were left out, since their first text fills --seq_length."),
        ("empty_sides", "{:,} pairs were left out, since one side is empty."),
    ):
        if counts[name]:
            logger.warning(text.format(counts[name]))


def _no_instances(sources: list[Source], counts: Counter, options: InstanceOptions) -> DataError:
    labelled = options.data_processor in ("cls", "cls_mlm")
    shape = "label<TAB>text or label<TAB>text<TAB>text" if labelled else "source<TAB>target"
    if counts["malformed_lines"]:
        message = f"none of its {counts['malformed_lines']:,} lines has the form {shape}; mend the corpus."
    elif counts["tokens"]:
        message = (
            f"{counts['tokens']:,} tokens of text gave no instance (see above); try a larger --seq_length."
        )
    else:
        message = "holds no text, only blank lines; give a corpus with text."
    return DataError(message, path=sources[0].path)
