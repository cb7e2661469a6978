"""Fine-tune a classifier under DeepSpeed: run_classifier.py with --deepspeed; see docs/training.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run


def main(argv: list[str] | None = None) -> int:
    """See `finetune/run_classifier.py`."""
    from finetune.run_classifier import main as finetune

    return finetune(["--deepspeed", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(run(main))
