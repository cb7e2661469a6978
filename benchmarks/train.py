"""Speed and memory of training beside UER-py and `transformers`, all programs in turn on the same batches.

    python3 benchmarks/train.py --peer uer=PATH transformers
    python3 benchmarks/train.py --tiny --device cpu          (small sizes, seconds: does it run at all?)

On a CPU: BERT's two objectives and fine-tuning on book_review, on real text. On a GPU: BERT-base with rows of
128 and 512 tokens, BERT-large, GPT-2 with rows of 1024, on random tokens; it takes less than ten minutes.
Each program is a process of its own (train_sides.py); they take turns, and medians are printed. "Of the
products" is the share of the rate of large matrix products, measured in the same turns in the precision that
is fastest here, that the model's own operations on real tokens reach (a product's forward and backward pass:
six operations a weight and token).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.common import REPOSITORY, machine, real_data, table
from benchmarks.train_turns import Process, start, take_turns
from uer.cli import Command, run
from uer.config.options import Options, option, positive
from uer.errors import ConfigError, EnvironmentFault

BATCHES = 16  # different ones a case
PRECISIONS = {"ours": ("auto",), "uer": ("fp32",), "transformers": ("fp32", "bf16")}
NAMES = {"ours": "this toolkit", "uer": "UER-py", "transformers": "transformers", "products": "products"}
TINY = {"hidden_size": 32, "emb_size": 32, "feedforward_size": 64, "heads_num": 2, "layers_num": 2}


@dataclass(frozen=True)
class BenchmarkOptions(Options):
    """Speed of training."""

    peer: tuple[str, ...] = option((), "programs to compare with: uer=FOLDER, transformers", metavar="NAME")
    cases: tuple[str, ...] = option((), "only these (default: all of the device), by the names of the table")
    device: str = option("auto", "where to train", choices=("auto", "cpu", "cuda"))
    rounds: int = positive(5, "turns of each program; the first one does not count")
    seconds: float = positive(2.0, "least length of a turn")
    rows: int | None = positive(None, "of a batch, instead of the case's own")
    threads: int = positive(2, "of the CPU")
    clock: str = option(
        "wall",
        "cpu: seconds of the processor instead, for a machine that others use too (with --threads 1)",
        choices=("wall", "cpu"),
    )
    tiny: bool = option(False, "very small models, rows and turns")
    output: str | None = option(None, "the figures go here too, as JSON", metavar="FILE")

    def check(self) -> None:
        """Peers that are known, a clock that means something."""
        if self.clock == "cpu" and (self.threads != 1 or self.device == "cuda"):
            raise ConfigError("--clock cpu counts one thread of the CPU: add --threads 1 --device cpu.")
        for peer in self.peer:
            if peer != "transformers" and not (peer.startswith("uer=") and Path(peer[4:], "uer").is_dir()):
                raise ConfigError(
                    f"--peer is '{peer}'; it must be transformers, or uer=FOLDER with a checkout of UER-py."
                )


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        task: "bert" (MLM and sentence prediction), "lm", "classify".
        config: model config, by its path in `models/`.
        unit: of the speed: "tokens" (real ones) or "rows".
    """

    name: str
    task: str
    config: str
    rows: int
    length: int
    unit: str = "tokens"


CASES = {
    "cpu": [
        Case("BERT tiny", "bert", "bert/tiny_config.json", 32, 128),
        Case("BERT small", "bert", "bert/small_config.json", 32, 128),
        Case("BERT base", "bert", "bert/base_config.json", 32, 128),
        Case("book_review tiny", "classify", "bert/tiny_config.json", 64, 128, "rows"),
        Case("book_review small", "classify", "bert/small_config.json", 64, 128, "rows"),
        Case("book_review base", "classify", "bert/base_config.json", 64, 128, "rows"),
    ],
    "cuda": [
        Case("BERT base 128", "bert", "bert/base_config.json", 256, 128),
        Case("BERT base 512", "bert", "bert/base_config.json", 64, 512),
        Case("BERT large 128", "bert", "bert/large_config.json", 128, 128),
        Case("GPT-2 1024", "lm", "gpt2/config.json", 32, 1024),
    ],
}


def cases(options: BenchmarkOptions, device: str) -> list[Case]:
    """The cases that are asked for."""
    known = CASES["cuda"] + CASES["cpu"] if options.tiny else CASES[device]
    names = [case.name for case in known]
    for name in options.cases:
        if name not in names:
            raise ConfigError(f"--cases is '{name}'; choose from {', '.join(names)}.")
    chosen = [case for case in known if not options.cases or case.name in options.cases]
    if options.rows:
        chosen = [replace(case, rows=options.rows) for case in chosen]
    return [shrunk(case) for case in chosen] if options.tiny else chosen


def shrunk(case: Case) -> Case:
    """A case of few and short rows."""
    return Case(case.name, case.task, case.config, 4, 16, case.unit)


def corpus_arrays(case: Case, tiny: bool, folder: Path) -> tuple[dict[str, np.ndarray], int]:
    """Batches of BERT's objectives as preprocess.py makes them of real text, and the vocabulary's size."""
    import preprocess
    from uer.data.pretrain_data import PretrainData
    from uer.data.store import Store

    data = real_data() / "data"
    vocab = data / "models" / "google_zh_vocab.txt"
    file = folder / f"bert-{case.length}.pt"
    if not file.exists():
        words = [
            "--corpus_path",
            data / "corpora" / "CLUECorpusSmall_bert_sampled.txt",
            "--vocab_path",
            vocab,
        ]
        words += ["--dataset_path", file, "--data_processor", "bert", "--seq_length", case.length]
        preprocess.main([str(word) for word in [*words, "--dup_factor", 1, "--log_level", "ERROR"]])
    source = PretrainData(Store(file), batch_size=case.rows, seed=7, rank=0, world_size=1)
    batches = [source.get(step) for step in range(2 if tiny else BATCHES)]
    columns = [{**batch.inputs, **batch.labels} for batch in batches]
    return {name: joined([c[name] for c in columns], case.length) for name in columns[0]}, 21128


def joined(parts: list[np.ndarray], length: int) -> np.ndarray:
    """Rows of several batches, padded to one length (ids with 0, labels with -100)."""
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    fill = -100 if any((part == -100).any() for part in parts) else 0
    wide = (np.pad(p, ((0, 0), (0, length - p.shape[1])), constant_values=fill) for p in parts)
    return np.concatenate(list(wide))


def review_arrays(case: Case, tiny: bool) -> tuple[dict[str, np.ndarray], int]:
    """Rows of book_review as fine-tuning reads them, padded."""
    from uer.tokenizers import build_tokenizer

    data = real_data() / "data"
    tokenizer = build_tokenizer("bert", vocab_path=data / "models" / "google_zh_vocab.txt")
    lines = (data / "datasets" / "book_review" / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    src, labels = [], []
    for line in lines[: 8 * case.rows if tiny else 64 * case.rows]:
        label, text = line.split("\t")[:2]
        ids = [tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id][: case.length]
        src.append(np.pad(ids, (0, case.length - len(ids))))
        labels.append(int(label))
    ids = np.array(src)
    return {"src": ids, "seg": (ids > 0).astype(np.int64), "cls": np.array(labels)}, len(tokenizer)


def random_arrays(case: Case, tiny: bool) -> tuple[dict[str, np.ndarray], int]:
    """Full rows of random tokens; a seventh of BERT's are predicted, all of a language model's."""
    draw, vocabulary = np.random.default_rng(7), 21128 if case.task == "bert" else 50257
    src = draw.integers(5, 100 if tiny else vocabulary, (4 * case.rows, case.length))
    arrays = {"src": src, "seg": np.ones_like(src)}
    if case.task == "lm":
        return {**arrays, "lm": np.roll(src, -1, axis=1)}, vocabulary
    labels = np.where(draw.random(src.shape) < 0.15, src, -100)
    return {**arrays, "mlm": labels, "sp": draw.integers(0, 2, len(src))}, vocabulary


def model_flops(
    case: Case, config: dict[str, Any], arrays: dict[str, np.ndarray], vocabulary: int, *, few: bool = False
) -> float:
    """Operations of a training step a real token: six a weight and token of matrices, and attention's.

    Args:
        few: the last layer computes queries and feed-forward only for the tokens that the targets read.
    """
    h, f, layers = config["hidden_size"], config["feedforward_size"], config["layers_num"]
    lengths = (arrays["seg"] > 0).sum(axis=1).astype(np.float64)
    predicted = sum((arrays[name] != -100).sum() for name in ("mlm", "lm") if name in arrays)
    weights = layers * (4 * h * h + 2 * h * f) * lengths.sum()
    weights += predicted * (vocabulary * h + (h * h if case.task == "bert" else 0))
    seen = 0.5 if case.task == "lm" else 1.0  # causal attention looks at half of the pairs
    operations = 6 * weights + seen * 12 * layers * h * (lengths**2).sum()
    if few:
        read = np.ones_like(lengths)  # the first token says the class of the row, or of the pair
        if case.task == "bert":
            read += (arrays["mlm"][:, 1:] != -100).sum(axis=1)
        operations -= 6 * (2 * h * h + 2 * h * f) * (lengths - read).sum()
        operations -= 12 * h * ((lengths - read) * lengths).sum()
    return float(operations / lengths.sum())


def measure(case: Case, options: BenchmarkOptions, device: str, folder: Path) -> list[dict[str, Any]]:
    """All sides of a case in turn."""
    config = json.loads((REPOSITORY / "models" / case.config).read_text())
    config |= {**TINY, "max_seq_length": case.length} if options.tiny else {}
    config["max_seq_length"] = max(config["max_seq_length"], case.length)
    if case.task == "classify":
        arrays, vocabulary = review_arrays(case, options.tiny)
        config.pop("target")
    elif device == "cpu" and case.task == "bert" and not options.tiny:
        arrays, vocabulary = corpus_arrays(case, options.tiny, folder)
    else:
        arrays, vocabulary = random_arrays(case, options.tiny)
    np.savez(folder / "data.npz", **arrays)
    about = {**asdict(case), "config": config, "vocabulary": vocabulary, "device": device}
    about |= {"threads": options.threads, "data": str(folder / "data.npz")}
    peers = dict(peer.partition("=")[::2] for peer in options.peer)
    if options.tiny:
        config["products"] = 512  # rows and columns: the smallest whose rate is that of large products
    sides = [(side, p) for side in ("ours", *peers) for p in PRECISIONS[side]]
    sides = [(s, p) for s, p in sides if not (device == "cuda" and (s, p) == ("transformers", "fp32"))]
    sides += [("products", "bf16"), ("products", "fp32")]
    processes = [start(*side, {"case": about, "peers": peers}, folder) for side in sides]
    for process in processes:
        process.clock = "cpu" if options.clock == "cpu" else "seconds"
    try:
        take_turns(processes, options)
    finally:
        for process in processes:
            process.job.kill()
            process.job.wait()
    for process in processes:
        if process.left_out:
            side = f"{NAMES[process.side]} {process.precision}"
            print(f"{case.name}: {side} is left out: {process.left_out}.", flush=True)
    if any(process.left_out for process in processes if process.side == "products"):
        return []  # nothing to hold the others against
    per_row = float((arrays["seg"] > 0).sum() / len(arrays["seg"]))
    flops = {
        side: model_flops(case, config, arrays, vocabulary, few=few(side, case, device)) for side, _ in sides
    }
    return figures(case, processes, flops, per_row)


def few(side: str, case: Case, device: str) -> bool:
    """Whether a side's last layer computes only what is read of it."""
    return side == "ours" and (case.task == "classify" or (case.task == "bert" and device == "cpu"))


def figures(
    case: Case, processes: list[Process], flops: dict[str, float], per_row: float
) -> list[dict[str, Any]]:
    """One record a side; `flops`: operations of each a real token, `per_row`: real tokens of a row."""
    sides = [process for process in processes if process.side != "products" and process.turns]
    products = {process.about: process.rate("flops") for process in processes if process.side == "products"}
    fastest = max(products.values())  # a CPU without instructions for bf16 multiplies fp32 faster

    def speed(process: Process) -> float:
        # batches of like length differ: a turn that met short rows must not count for more
        return process.rate("tokens") / (per_row if case.unit == "rows" else 1.0)

    ours = next((speed(process) for process in sides if process.side == "ours"), float("nan"))
    return [
        {
            "case": case.name,
            "side": process.side,
            "precision": process.about,
            "unit": case.unit,
            "rate": speed(process),
            "ratio": ours / speed(process),
            "of_products": process.rate("tokens") * flops[process.side] / fastest,
            "products_bf16": products["bf16"],
            "products_fp32": products["fp32"],
            "peak": max(turn["peak"] for turn in process.turns),
        }
        for process in sides
    ]


HEADER = ("case", "program", "precision", "a second", "ours over it", "of the products", "peak memory")


def line(record: dict[str, Any]) -> tuple[str, ...]:
    """A record as a row of the table."""
    ratio = "" if record["side"] == "ours" else f"{record['ratio']:.2f}"
    return (
        record["case"],
        NAMES[record["side"]],
        record["precision"],
        f"{record['rate']:,.0f} {record['unit']}",
        ratio,
        f"{record['of_products']:.0%}",
        f"{record['peak'] / 2**20:,.0f} MB",
    )


def main(argv: list[str] | None = None) -> int:
    """Run all cases; the table comes last."""
    command = Command("benchmarks/train.py", __doc__, BenchmarkOptions)
    options = command.parse(argv)[BenchmarkOptions]
    import torch

    torch.set_num_threads(options.threads)
    device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("--device cuda: this machine has no GPU; --tiny --device cpu runs its cases.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for case in cases(options, device):
            new = measure(case, options, device, Path(name))
            records += new
            for record in new:
                print(" ".join(line(record)), flush=True)
    gpu = torch.cuda.get_device_name() if device == "cuda" else ""
    print(f"\n{gpu or machine()}" + ", seconds of the processor" * (options.clock == "cpu"))
    for kind in ("bf16", "fp32") if records else ():
        rates = [record[f"products_{kind}"] for record in records]
        print(f"Large {kind} matrix products: {statistics.median(rates) / 1e9:,.0f} GFLOP/s.")
    if not torch.cuda.is_available():
        print("No GPU here: the cases for GPUs are unmeasured.")
    print("\n" + table(HEADER, [line(record) for record in records]))
    if options.output:
        Path(options.output).write_text(
            json.dumps({"machine": gpu or machine(), "records": records}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
