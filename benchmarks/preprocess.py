"""Speed of preprocess.py and of reading its datasets, beside Hugging Face `tokenizers` and UER-py.

    python3 benchmarks/preprocess.py [--uer FOLDER] [--sizes 39 390] [--runs 3 1] [--processes 2]

Every figure is a process of its own (preprocess_sides.py, or preprocess.py as a user types it). The Chinese
corpora are the samples over and over, the characters of every line permuted anew in each copy, the English
one likewise with words, so that no line comes twice. "s" is wall time, start-up included; "MB/s" leaves
start-up out and comes from the program's own line; "CPU s" are those of all its processes, which say more on
a busy machine. Medians of the runs (of each size its number). `--uer` names a checkout of UER-py 2024, whose
preprocess.py then runs in turn with ours.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import REPOSITORY, machine, real_data, table
from uer.cli import Command, run
from uer.config.options import Options, option, positive
from uer.errors import ConfigError

DOCUMENTS, SENTENCES = "CLUECorpusSmall_sampled.txt", "CLUECorpusSmall_bert_sampled.txt"
ENGLISH, SMALL = "news-commentary-v13-en-zh_sampled.txt", 16  # its MB
# name → corpus, flags, seconds of UER-py 2024 for 39 MB as they were measured on another machine of two cores
CASES = {
    "lm": (DOCUMENTS, ["--data_processor", "lm"], 14.2),
    "mlm, dynamic": (DOCUMENTS, ["--data_processor", "mlm", "--dynamic_masking"], None),
    "mlm, static ×5": (DOCUMENTS, ["--data_processor", "mlm"], 89.5),
    "bert, dynamic": (SENTENCES, ["--data_processor", "bert", "--dynamic_masking"], 16.9),
    "bert, static ×5": (SENTENCES, ["--data_processor", "bert"], None),
    "bert, dynamic, whole words stored": (
        SENTENCES,
        ["--data_processor", "bert", "--dynamic_masking", "--whole_word_masking"],
        None,
    ),
}
# name → files of the tokenizer by the keyword of `build_tokenizer`, corpus
TOKENIZERS = {
    "Chinese, google_zh_vocab": ({"vocab_path": "google_zh_vocab.txt"}, DOCUMENTS),
    "English, google_uncased_en_vocab": ({"vocab_path": "google_uncased_en_vocab.txt"}, ENGLISH),
    "English, bpe": (
        {
            "name": "bpe",
            "vocab_path": "huggingface_gpt2_vocab.txt",
            "merges_path": "huggingface_gpt2_merges.txt",
        },
        ENGLISH,
    ),
    "English, sentencepiece unigram": ({"spm_model_path": "cluecorpussmall_spm.model"}, ENGLISH),
    "Chinese, sentencepiece unigram": ({"spm_model_path": "cluecorpussmall_spm.model"}, DOCUMENTS),
}
READINGS = {
    "bert, tokens": {},
    "bert, spans": {"span_masking": True},
    "bert, whole words": {"whole_word_masking": True},
}
PEER = "tokenizers, its ids written as lm's"
SIDES = (sys.executable, str(REPOSITORY / "benchmarks/preprocess_sides.py"))
PARTS = ("tokenise", "build", "read")


@dataclass(frozen=True)
class BenchmarkOptions(Options):
    """Speed of the data engine."""

    sizes: tuple[int, ...] = option((39, 390), "MB of the corpora", check=lambda value: value > 0)
    runs: tuple[int, ...] = option((3,), "how often, for each size", check=lambda value: value > 0)
    peer_runs: int = positive(1, "of each figure of UER-py")
    processes: int = positive(2, "worker processes, and threads of tokenizers")
    parts: tuple[str, ...] = option(PARTS, "what to measure", choices=PARTS)
    cases: tuple[str, ...] = option(
        (), "only these datasets, by the names of the table", choices=(*CASES, PEER)
    )
    uer: str | None = option(None, "a checkout of UER-py to run beside", metavar="FOLDER")
    folder: str = option("preprocess-benchmark", "for corpora and datasets", metavar="FOLDER")
    output: str | None = option(None, "the figures go here too, as JSON", metavar="FILE")

    def check(self) -> None:
        """The peer is there."""
        if self.uer is not None and not Path(self.uer, "preprocess.py").is_file():
            raise ConfigError(
                f"--uer is '{self.uer}', which holds no preprocess.py; give a checkout of UER-py."
            )


class Benchmark:
    """The figures of one run.

    Attributes:
        records: one a row: its table, its name, its numbers.
    """

    def __init__(self, options: BenchmarkOptions) -> None:
        self.options, self.data = options, real_data() / "data"
        self.folder = Path(options.folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records: list[dict[str, Any]] = []
        os.environ.update(RAYON_NUM_THREADS=str(options.processes), TOKENIZERS_PARALLELISM="true")

    def corpus(self, name: str, megabytes: int) -> Path:
        """The file of a corpus of some size, made when it is not there."""
        path = self.folder / f"{megabytes}-{name}"
        if not path.exists():
            make = permuted_words if name == ENGLISH else permuted_characters
            make(self.data / "corpora" / name, path, megabytes)
        return path

    def tokenise(self) -> None:
        """Text → ids, with each kind of tokenizer: ours in one and in several processes, `tokenizers`."""
        for name, (files, corpus) in TOKENIZERS.items():
            size = self.options.sizes[0] if "vocab_path" in files and corpus == DOCUMENTS else SMALL
            path = self.corpus(corpus, size)
            about = {
                "files": {key: self._model(key, file) for key, file in files.items()},
                "corpus": str(path),
            }
            record = {"table": "tokenise", "name": name, "MB": path.stat().st_size / 1e6}
            for column, side in (
                ("ours, 1 process", {"side": "ours", "processes": 1}),
                ("ours", {"side": "ours", "processes": self.options.processes}),
                ("encode_batch", {"side": "library", "fast": False}),
                ("encode_batch_fast", {"side": "library", "fast": True}),
            ):
                results = [self._side({**about, **side}) for _ in range(self.options.runs[0])]
                record[column] = record["MB"] / statistics.median(each["seconds"] for each in results)
                record[f"{column}, tokens"] = results[0]["tokens"]
            self._add(record)
        files = {"vocab_path": self._model("vocab_path", "google_zh_vocab.txt")}
        corpus = str(self.corpus(DOCUMENTS, self.options.sizes[0]))
        self._add({"table": "limits", **self._side({"side": "limits", "files": files, "corpus": corpus})})

    def _model(self, key: str, file: str) -> str:
        return file if key == "name" else str(self.data / "models" / file)

    def _side(self, about: dict[str, Any], jobs: int = 1) -> dict[str, Any]:
        """What preprocess_sides.py says; of several that run at once, the sum of their rates."""
        command = [*SIDES, json.dumps(about)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(jobs)]
        said = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise RuntimeError(f"{about} failed")
        results = [json.loads(text) for text in said]
        return results[0] if jobs == 1 else {"rate": sum(result["rate"] for result in results)}

    def build(self) -> None:
        """Corpora → datasets, in all sizes; beside the peers for the first one."""
        chosen = self.options.cases or (*CASES, PEER)
        runs = zip_longest(self.options.sizes, self.options.runs, fillvalue=self.options.runs[-1])
        for size, count in list(runs)[: len(self.options.sizes)]:
            for name in (name for name in CASES if name in chosen):
                self._add(self._built(name, size, count))
        if PEER in chosen:
            path = self.corpus(DOCUMENTS, self.options.sizes[0])
            about = {"side": "peer", "corpus": str(path), "out": str(self.folder / "peer.bin")}
            about["files"] = {"vocab_path": self._model("vocab_path", "google_zh_vocab.txt")}
            taken = [timed([*SIDES, json.dumps(about)]) for _ in range(self.options.runs[0])]
            self._add({"table": "build", "name": PEER, "MB": path.stat().st_size / 1e6, **middle(taken)})

    def _built(self, name: str, size: int, count: int) -> dict[str, Any]:
        """One dataset, by ours and (the first size) by UER-py."""
        corpus, flags, cited = CASES[name]
        path = self.corpus(corpus, size)
        command = self._preprocess(REPOSITORY, path, self.folder / "dataset.pt", flags)
        ours = middle([timed(command) for _ in range(count)])
        record = {"table": "build", "name": name, "MB": path.stat().st_size / 1e6, **ours}
        if cited and size == self.options.sizes[0]:
            if size == 39:
                record["UER-py, cited"] = cited
            if self.options.uer:
                command = self._preprocess(Path(self.options.uer), path, self.folder / "uer.pt", flags)
                theirs = [timed(command, self.options.uer) for _ in range(self.options.peer_runs)]
                record["UER-py"] = middle(theirs)
        return record

    def _preprocess(self, home: Path, corpus: Path, dataset: Path, flags: list[str]) -> list[str]:
        command = [sys.executable, str(home / "preprocess.py"), "--corpus_path", str(corpus)]
        command += ["--vocab_path", self._model("vocab_path", "google_zh_vocab.txt"), "--dataset_path"]
        return [*command, str(dataset), "--processes_num", str(self.options.processes), *flags]

    def read(self) -> None:
        """Batches from a dataset, masked anew, and the rate at which BERT-base learns from them."""
        dataset = self.folder / "read.pt"
        flags = ["--data_processor", "bert", "--dynamic_masking", "--whole_word_masking"]
        source = self.data / "corpora" / SENTENCES
        subprocess.run(self._preprocess(REPOSITORY, source, dataset, flags), check=True, capture_output=True)
        config = str(REPOSITORY / "models/bert/base_config.json")
        learning = self._side({"side": "learn", "dataset": str(dataset), "config": config})["rate"]
        self._add({"table": "read", "name": "BERT-base learns", "all": learning})
        for name, flags in READINGS.items():
            about = {"side": "read", "dataset": str(dataset), "flags": flags}
            one = statistics.median(self._side(about)["rate"] for _ in range(self.options.runs[0]))
            rates = [self._side(about, self.options.processes)["rate"] for _ in range(self.options.runs[0])]
            record = {"table": "read", "name": name, "one": one, "all": statistics.median(rates)}
            self._add({**record, "times": one / learning})

    def _add(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        print(json.dumps(record, ensure_ascii=False), file=sys.stderr, flush=True)


def permuted_characters(source: Path, path: Path, megabytes: int) -> None:
    """Copies of a corpus, the characters of every line in another order each time."""
    text = source.read_text(encoding="utf-8").rstrip("\n") + "\n"
    codes = np.array([text]).view(np.uint32)
    ends = codes == ord("\n")
    line, rng = np.cumsum(ends) - ends, np.random.default_rng(0)
    with open(path, "wb") as file:
        while file.tell() < megabytes * 1_000_000:
            keys = np.where(ends, 0.999, 0.99 * rng.random(len(codes)))  # the line feed stays the last
            file.write(codes[np.argsort(line + keys)].tobytes().decode("utf-32-le").encode())


def permuted_words(source: Path, path: Path, megabytes: int) -> None:
    """Copies of the English column of pairs, the words of every line in another order each time."""
    lines = [line.split("\t")[0].split(" ") for line in source.read_text(encoding="utf-8").split("\n")]
    rng = np.random.default_rng(0)
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1_000_000:
            for words in lines:
                file.write(" ".join(words[place] for place in rng.permutation(len(words))) + "\n")


def timed(command: list[str], home: str | None = None) -> dict[str, float]:
    """A process: wall seconds, seconds of the processors, and what preprocess.py says of itself."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=home)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = re.search(r"([\d.]+) MB/s, at most ([\d,]+) MB a process", done.stderr)
    own = {"MB/s": float(found[1]), "memory": int(found[2].replace(",", ""))} if found else {}
    return {"s": seconds, "CPU s": cpu, **own}


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(one[name] for one in runs) for name in runs[0]}


def tables(records: list[dict[str, Any]], processes: int) -> str:
    """All figures as Markdown."""
    kinds = {
        kind: [r for r in records if r["table"] == kind] for kind in ("tokenise", "limits", "build", "read")
    }
    out = []
    if kinds["tokenise"]:
        columns = ("ours, 1 process", "ours", "encode_batch", "encode_batch_fast")
        header = ("tokenising, MB/s", "MB", "ours, 1 process", f"ours, {processes}", *columns[2:])
        rows = [
            (r["name"], f"{r['MB']:.0f}", *(f"{r[column]:.1f}" for column in columns))
            for r in kinds["tokenise"]
        ]
        out.append(table(header, rows))
    for record in kinds["limits"]:
        rows = [(name, f"{rate:.0f}") for name, rate in record["rates"].items()]
        out.append(table(("one process, Chinese, up to and with this step", "MB/s"), rows))
    if kinds["build"]:
        header = ("preprocess.py", "MB", "s", "CPU s", "MB/s", "MB a process", "UER-py s", "times")
        out.append(table(header, [build_row(record) for record in kinds["build"]]))
    if kinds["read"]:
        header = ("reading, tokens/s", "one process", f"{processes} processes", "one × BERT-base's learning")
        rows = [
            (
                r["name"],
                f"{r['one']:,.0f}" if "one" in r else "",
                f"{r['all']:,.0f}",
                f"{r['times']:,.0f}" if "times" in r else "",
            )
            for r in kinds["read"]
        ]
        out.append(table(header, rows))
    return "\n\n".join(out)


def build_row(record: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table of datasets."""
    theirs = record.get("UER-py", {}).get("s") or record.get("UER-py, cited")
    return (
        record["name"],
        f"{record['MB']:.0f}",
        f"{record['s']:.2f}",
        f"{record['CPU s']:.2f}",
        f"{record.get('MB/s', record['MB'] / record['s']):.0f}",
        f"{record.get('memory', '')}",
        f"{theirs:.1f}" if theirs else "",
        f"{theirs / record['s']:.0f}" if theirs else "",
    )


def main(argv: list[str] | None = None) -> int:
    """Measure, and print the tables."""
    options = Command("benchmarks/preprocess.py", __doc__, BenchmarkOptions).parse(argv)[BenchmarkOptions]
    benchmark = Benchmark(options)
    for part in options.parts:
        getattr(benchmark, part)()
    load = f"{options.processes} processes; load {os.getloadavg()[0]:.1f} at the end"
    print(f"{machine()}; {load}\n\n{tables(benchmark.records, options.processes)}")
    if options.output:
        about = {"machine": machine(), "load": load, "records": benchmark.records}
        Path(options.output).write_text(
            json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
