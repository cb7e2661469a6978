"""Predict with a classifier that was trained under DeepSpeed: its weights are ordinary ones."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run


def main(argv: list[str] | None = None) -> int | None:
    """See `inference/run_classifier_infer.py`."""
    from inference.run_classifier_infer import main as predict

    return predict(argv)


if __name__ == "__main__":
    sys.exit(run(main))
