"""Speed of preprocess.py and of reading its datasets, beside a pipeline on Hugging Face `tokenizers`.

    python3 benchmarks/preprocess.py [--sizes 39 390] [--runs 3] [--processes 2] [--folder DIR]

The corpora are the Chinese samples over and over, the characters of every line permuted anew in each copy,
so that no line comes twice. Times are wall time of whole processes, start-up included, medians; MB/s of the
build alone come from the program's own line. UER-py's times were taken on another machine of two cores; the
peer runs here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import REPOSITORY, machine, real_data, table

DOCUMENTS, SENTENCES = "CLUECorpusSmall_sampled.txt", "CLUECorpusSmall_bert_sampled.txt"
# name → corpus, flags, seconds of UER-py 2024 for 39 MB with two processes
CASES = {
    "lm": (DOCUMENTS, ["--data_processor", "lm"], 14.2),
    "mlm, dynamic": (DOCUMENTS, ["--data_processor", "mlm", "--dynamic_masking"], None),
    "mlm, static ×5": (DOCUMENTS, ["--data_processor", "mlm"], 89.5),
    "bert, dynamic": (SENTENCES, ["--data_processor", "bert", "--dynamic_masking"], 16.9),
    "bert, static ×5": (SENTENCES, ["--data_processor", "bert"], None),
}
# The same work with `tokenizers`: every line's ids, cut into blocks, written to disk. Its threads use all
# cores.
PEER = r"""
import sys
import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

corpus, vocab, out = sys.argv[1:]
words = {line.rstrip("\n"): number for number, line in enumerate(open(vocab, encoding="utf-8"))}
tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]", max_input_chars_per_word=200))
tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
with open(corpus, encoding="utf-8") as lines, open(out, "wb") as file:
    while batch := [line for line, _ in zip(lines, range(10_000))]:
        for encoding in tokenizer.encode_batch_fast([line for line in batch if line.strip()]):
            np.array([101, *encoding.ids, 102], np.uint16).tofile(file)
"""


def make_corpus(source: Path, path: Path, megabytes: int) -> None:
    """Copies of a corpus with permuted characters, up to a size."""
    lines, rng = source.read_text(encoding="utf-8").split("\n"), random.Random(0)
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1_000_000:
            for line in lines:
                chars = list(line)
                rng.shuffle(chars)
                file.write("".join(chars) + "\n")


def timed(command: list[str]) -> tuple[float, str]:
    """Wall seconds of a process and what it said."""
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stderr


def measure(folder: Path, vocab: Path, size: int, runs: int, processes: int) -> list[tuple]:
    """Rows of the table for one size of corpus."""
    rows = []
    for name, (corpus, flags, uer) in CASES.items():
        path = folder / f"{size}-{corpus}"
        if not path.exists():
            make_corpus(real_data() / "data/corpora" / corpus, path, size)
        megabytes = path.stat().st_size / 1e6
        command = [sys.executable, str(REPOSITORY / "preprocess.py"), "--corpus_path", str(path)]
        command += ["--vocab_path", str(vocab), "--dataset_path", str(folder / "dataset.pt")]
        command += ["--processes_num", str(processes), *flags]
        seconds, rates, memory = [], [], 0
        for _ in range(runs):
            taken, said = timed(command)
            seconds.append(taken)
            rates.append(float(re.search(r"([\d.]+) MB/s", said)[1]))
            memory = max(memory, int(re.search(r"at most ([\d,]+) MB a process", said)[1].replace(",", "")))
        middle = statistics.median(seconds)
        times = f"{uer / middle:.0f}×" if uer and size == 39 else ""
        rate = statistics.median(rates)
        rows.append((name, f"{megabytes:.0f}", f"{middle:.2f}", f"{rate:.0f}", memory, times))
    return rows


def measure_peer(folder: Path, vocab: Path, size: int, runs: int, processes: int) -> tuple:
    """The row of the peer."""
    path = folder / f"{size}-{DOCUMENTS}"
    os.environ["RAYON_NUM_THREADS"] = str(processes)
    command = [sys.executable, "-c", PEER, str(path), str(vocab), str(folder / "peer.bin")]
    middle = statistics.median(timed(command)[0] for _ in range(runs))
    megabytes = path.stat().st_size / 1e6
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1000
    return "tokenizers, lm", f"{megabytes:.0f}", f"{middle:.2f}", f"{megabytes / middle:.1f}", memory, ""


def reading(folder: Path, vocab: Path) -> list[tuple]:
    """Tokens a second that a loader of dynamically masked batches gives, in one process."""
    from uer.config.preprocess import MaskingOptions
    from uer.data.pretrain_data import PretrainData
    from uer.data.store import Store
    from uer.tokenizers import build_tokenizer

    command = [sys.executable, str(REPOSITORY / "preprocess.py"), "--vocab_path", str(vocab)]
    command += ["--corpus_path", str(real_data() / "data/corpora" / SENTENCES), "--dynamic_masking"]
    subprocess.run([*command, "--dataset_path", str(folder / "read.pt")], check=True, capture_output=True)
    store, rows = Store(folder / "read.pt"), []
    tokenizer = build_tokenizer(vocab_path=vocab)
    for name, flags in {
        "tokens": {},
        "spans": {"span_masking": True},
        "whole words": {"whole_word_masking": True},
    }.items():
        data = PretrainData(store, batch_size=32, masking=MaskingOptions(**flags), tokenizer=tokenizer)
        data.get(0)
        start, tokens = time.perf_counter(), 0
        for step in range(1, 301):
            tokens += data.get(step).inputs["src"].size
        rate = tokens / (time.perf_counter() - start)
        rows.append((f"bert, {name} hidden anew", f"{rate / 1e6:.2f}", f"{32 * 128 / rate * 1e3:.2f}"))
    return rows


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[39, 390], help="MB of the corpora")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, default=Path("preprocess-benchmark"), help="for corpora and datasets"
    )
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    vocab = real_data() / "data/models/google_zh_vocab.txt"
    rows = []
    for size in args.sizes:
        rows += measure(args.folder, vocab, size, args.runs, args.processes)
    rows.append(measure_peer(args.folder, vocab, args.sizes[0], args.runs, args.processes))
    print(f"{machine()}; {args.processes} processes, load {os.getloadavg()[0]:.1f}\n")
    print(table(("data processor", "MB", "s, whole process", "MB/s, build", "MB a process", "UER-py"), rows))
    print(
        "\n"
        + table(("reading", "M tokens/s, one process", "ms a batch of 32×128"), reading(args.folder, vocab))
    )
    (args.folder / "result.json").write_text(json.dumps(rows, ensure_ascii=False))


if __name__ == "__main__":
    main()
