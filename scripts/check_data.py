"""Check corpora and task files: their format, three samples, lengths, and every line that is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.inspect_data import InspectDataOptions
from uer.config.tokenizer import TokenizerOptions

COMMAND = Command(
    "scripts/check_data.py",
    "Say what format files are in, show samples and lengths, and list every line that is wrong. "
    "The exit code is 1 when there is one.",
    InspectDataOptions,
    TokenizerOptions,
    words=("FILE", "+", "a corpus or task file: txt, tsv, jsonl, parquet, also .gz and .zst"),
)


def main(argv: list[str] | None = None) -> int:
    """Print a report on each file that is named; returns 1 when any line is wrong."""
    chosen = COMMAND.start(argv)

    from uer.data.checking import check_file, describe
    from uer.opts.tokenizer import chosen_tokenizer

    options = chosen[TokenizerOptions]
    tokenizer = chosen_tokenizer(chosen) if options.vocab_path or options.spm_model_path else None
    bad = 0
    for number, path in enumerate(chosen.words):
        report = check_file(path, tokenizer, chosen[InspectDataOptions].samples)
        print("\n" * bool(number) + "\n".join(describe(path, report, tokenizer)))
        bad += len(report.bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(run(main))
