"""Predict with a classifier that was trained under DeepSpeed: its weights are ordinary ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.training.place import is_first


def main(argv: list[str] | None = None) -> int | None:
    """See `inference/run_classifier_infer.py`."""
    from inference.run_classifier_infer import main as predict

    # A launcher starts several processes; one of them is enough.
    return predict(argv) if is_first(dict(os.environ)) else 0


if __name__ == "__main__":
    sys.exit(run(main))
