"""How far our numbers are from those of other programs: frozen ones, and `transformers` with fresh random
weights.

    python3 benchmarks/parity.py --golden FOLDER…        every case of folders in the golden format
    python3 benchmarks/parity.py --transformers --seed N  every Hugging Face family and head
    … --write docs/parity.md                              keep the second table in the documents

Prints a table; the exit code is 1 when a difference is larger than it may be.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TOLERANCE = 1e-5


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and say whether all is well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--golden", nargs="+", type=Path, default=[], metavar="FOLDER", help="folders of frozen cases"
    )
    parser.add_argument("--transformers", action="store_true", help="every family and head, random weights")
    parser.add_argument("--seed", type=int, default=1, help="of the random weights and inputs")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the table of --transformers as Markdown"
    )
    options = parser.parse_args(argv)
    logging.getLogger("uer").setLevel(logging.ERROR)
    missed = sum(golden(folder) for folder in options.golden)
    if options.transformers:
        missed += against_transformers(options.seed, options.write)
    if not options.golden and not options.transformers:
        parser.error("name --golden FOLDER or --transformers")
    return 1 if missed else 0


def golden(folder: Path) -> int:
    """The cases of a folder; the number of misses."""
    missed = 0
    for path in sorted(folder.glob("*.json")):
        checker, allowed = checker_of(path)
        if checker is None:
            print(f"{path.stem:<36}    {allowed}")
            continue
        with tempfile.TemporaryDirectory() as temporary:
            missed += show(path.stem, checker(path, Path(temporary)))
    return missed


def checker_of(path: Path) -> tuple[Callable[[Path, Path], dict[str, float]] | None, str]:
    """The function that checks a case, or None and the reason why it is not a case of a model."""
    from tests.checkpoints import zoo
    from tests.models import golden_checks

    meta = json.loads(path.read_text(encoding="utf-8"))
    if "oracle" in meta:
        if zoo.class_of(path) is None:
            return None, f"another family ({meta['family']}), not covered by the key maps"
        return zoo.check, ""
    return golden_checks.checker(meta)


def against_transformers(seed: int, write: Path | None) -> int:
    """Every family and head at both scales, and the way back; the number of misses."""
    from tests.checkpoints.parity import SCALES, differences, round_trip
    from tests.checkpoints.parity_cases import cases

    missed, rows = 0, []
    for case in cases():
        found: dict[str, float] = {}
        for std in SCALES:
            with tempfile.TemporaryDirectory() as temporary:
                for name, value in differences(case, Path(temporary), std, seed).items():
                    found[name] = max(found.get(name, 0.0), value)
        with tempfile.TemporaryDirectory() as temporary:
            found["export"] = float(len(round_trip(case, Path(temporary), SCALES[0], seed)))
        missed += show(f"{case.family}: {case.name}", found)
        rows.append((case, found))
    if write is not None:
        write.write_text(markdown(rows, seed), encoding="utf-8")
        print(f"Wrote {write}.")
    return missed


def show(name: str, found: dict[str, float]) -> int:
    """Print one line; 1 when it is a miss."""
    worst = max(found, key=found.__getitem__)
    bad = found[worst] > TOLERANCE
    print(f"{name:<52} {found[worst]:8.1e}  {'MISS in ' + worst if bad else 'ok'}", flush=True)
    return int(bad)


def markdown(rows: list, seed: int) -> str:
    """The table for the documents."""
    import torch
    import transformers

    head = (
        "# Hugging Face families\n\n"
        "The largest difference between our model of a folder and the class of `transformers` that wrote "
        "it: hidden states,\nlogits and losses, each relative to 1 + |value|, over two scales of random "
        "weights, rows padded on the right and on the\nleft. Export: tensors that do not come back to the "
        "bit. Written by `python3 benchmarks/parity.py --transformers --write docs/parity.md`\n"
        f"(seed {seed}, torch {torch.__version__}, transformers {transformers.__version__}, fp32, CPU); "
        "the tests hold each row to 1e-5.\n\n"
        "| family | class | largest difference | in | export |\n|---|---|---|---|---|\n"
    )
    lines = []
    for case, found in rows:
        values = {name: value for name, value in found.items() if name != "export"}
        worst = max(values, key=values.__getitem__)
        export = "to the bit" if found["export"] == 0 else f"{found['export']:.0f} tensors differ"
        lines.append(f"| {case.family} | {case.name} | {values[worst]:.1e} | {worst} | {export} |\n")
    return head + "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
