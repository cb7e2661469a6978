"""Speed of generation and of feature extraction beside `transformers`, and what fewer bytes a weight cost.

    python3 benchmarks/generation.py [--threads 2] [--seconds 440] [--rounds 3]

The language model is models/gpt2/distil_config.json with Google's Chinese vocabulary and random weights;
each token reads 58.7 M weights. Every measurement is written down at once (`--results`): a run that was
stopped, or ran out of `--seconds`, goes on where it was. The programs alternate, so that a busy machine slows
both; the best of all rounds counts. The tables come last. An idle machine of two cores needs eight minutes at
most.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import REPOSITORY, machine, table

RESULTS = REPOSITORY / "benchmarks" / "results" / "generation.jsonl"
READ = 58.7e6  # weights that a step reads
BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
UER_SECONDS = {128: 8.1, 512: 80.7}  # UER-py 2024, whole command, on another machine of two cores
LENGTHS = (128, 256, 512)


class Measurements:
    """What was measured so far, one JSON object a line: `kind`, further keys, `round`, `value`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.rows = [json.loads(line) for line in lines]

    def has(self, key: dict) -> bool:
        """Whether this was measured."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, key: dict, value: float) -> None:
        """Write one down."""
        self.rows.append({**key, "value": value})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(self.rows[-1]) + "\n")
        print(" ".join(f"{name}={value}" for name, value in self.rows[-1].items()), flush=True)

    def best(self, choose: type[max] = max, **key: object) -> float | None:
        """The best value of all rounds, None when there is none."""
        values = [row["value"] for row in self.rows if all(row.get(name) == x for name, x in key.items())]
        return choose(values) if values else None


def jobs(rounds: int) -> Iterator[dict]:
    """The keys of all measurements, round after round, both programs in turn."""
    for number in range(rounds):
        yield {"kind": "bandwidth", "round": number}
        for precision in BYTES:
            for length in LENGTHS:
                yield {"kind": "command", "precision": precision, "tokens": length, "round": number}
        for rows, length in ((1, 128), (32, 64)):
            for precision in BYTES:
                for who in ("transformers", "ours"):
                    if (who, precision) != ("transformers", "int8"):
                        yield {"kind": "rate", "who": who, "precision": precision, "rows": rows,
                               "tokens": length, "round": number}  # fmt: skip
        for who in ("transformers", "ours"):
            yield {"kind": "features", "who": who, "round": number}
        if number == 0:
            for precision in BYTES:
                yield {"kind": "perplexity", "precision": precision}


def commands_table(found: Measurements) -> str:
    """Whole commands: seconds, UER-py's over ours, and what a further token costs at each length."""
    rows = []
    for precision in BYTES:
        spent = {n: found.best(min, kind="command", precision=precision, tokens=n) for n in LENGTHS}
        for before, length in zip((None, *LENGTHS), LENGTHS):
            if spent[length] is None:
                continue
            theirs = UER_SECONDS.get(length)
            ratio = f"{theirs / spent[length]:.1f}" if theirs else ""
            each = ""
            if before is not None and spent[before] is not None:
                each = f"{(spent[length] - spent[before]) / (length - before) * 1e3:.1f}"
            rows.append((precision, length, f"{spent[length]:.2f}", theirs or "", ratio, each))
    header = ("precision", "tokens", "seconds, start-up included", "UER-py", "its time over ours")
    return table((*header, "ms a further token"), rows)


def rates_table(found: Measurements) -> str:
    """New tokens a second beside transformers in the same precision (int8: beside fp32)."""
    rows, reach = [], found.best(kind="bandwidth")
    for prompts in (1, 32):
        for who in ("transformers", "ours"):
            for precision, size in BYTES.items():
                rate = found.best(kind="rate", who=who, precision=precision, rows=prompts)
                theirs = [
                    found.best(kind="rate", who="transformers", precision=other, rows=prompts)
                    for other in ("fp32", "bf16")
                ]
                if rate is None or reach is None:
                    continue
                over = [f"{rate / x:.2f}" if x and who == "ours" else "" for x in theirs]
                share = f"{rate * READ * size / 1e9 / reach:.0%}" if prompts == 1 else ""
                rows.append((prompts, f"{who} {precision}", f"{rate:.0f}", *over, share))
    header = ("prompts", "program", "new tokens/s", "over transformers fp32", "over transformers bf16")
    return table((*header, "of the bandwidth"), rows)


def tables(found: Measurements) -> str:
    """All tables in Markdown, of what was measured so far."""
    reach = found.best(kind="bandwidth")
    limit = f"The memory gives {reach:.1f} GB/s to a product of a matrix and a vector." if reach else ""
    vectors = [(who, found.best(kind="features", who=who)) for who in ("transformers", "ours")]
    losses, exact = [], found.best(kind="perplexity", precision="fp32")
    for precision in BYTES:
        value = found.best(kind="perplexity", precision=precision)
        if value and exact:
            losses.append((precision, f"{value:.3f}", f"{value / exact - 1:+.3%}"))
    return "\n\n".join(
        [
            commands_table(found),
            rates_table(found),
            limit,
            table(("vectors of texts", "texts/s"), [(who, f"{rate:.1f}") for who, rate in vectors if rate]),
            table(("precision", "perplexity of held-out text", "difference"), losses),
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=440, help="begin no measurement after so long")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the programs that are started
    import torch
    from generation_sides import Bench

    torch.set_num_threads(options.threads)
    found, start = Measurements(options.results), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        bench = None
        for key in jobs(options.rounds):
            if not found.has(key) and time.perf_counter() - start < options.seconds:
                bench = bench or Bench(Path(name))
                found.add(key, bench.measure(key))
    print(machine(), tables(found), sep="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
