"""Compare two vocabularies."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.tools import VocabDifferenceOptions


def main(argv: list[str] | None = None) -> int:
    """Print the sizes of both, of what only one of them has, and of what both have."""
    chosen = Command("scripts/diff_vocab.py", __doc__, VocabDifferenceOptions).start(argv)
    options = chosen[VocabDifferenceOptions]

    from uer.tokenizers.vocab import Vocab

    first, second = (
        set(Vocab.load(path, flag).index)
        for path, flag in ((options.vocab_1, "--vocab_1"), (options.vocab_2, "--vocab_2"))
    )
    print(f"vocab_1: {options.vocab_1}, size: {len(first)}")
    print(f"vocab_2: {options.vocab_2}, size: {len(second)}")
    print(f"vocab_1 - vocab_2 = {len(first - second)}")
    print(f"vocab_2 - vocab_1 = {len(second - first)}")
    print(f"vocab_1 & vocab_2 = {len(first & second)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
