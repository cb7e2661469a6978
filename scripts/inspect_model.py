"""Say what a file or folder of weights is: family, vintage, sizes, parameters, types, ties, labels."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.checkpoints import InspectOptions


def main(argv: list[str] | None = None) -> int:
    """Print the description of each model that is named."""
    command = Command(
        "scripts/inspect_model.py",
        "Describe models: files of any vintage of UER-py, Hugging Face folders, hf:owner/name.",
        InspectOptions,
        words=("FILE_OR_FOLDER", "+", "a file of weights or a folder"),
    )
    chosen = command.start(argv)

    from uer.checkpoints.inspection import inspect

    for number, path in enumerate(chosen.words):
        print("\n" * bool(number) + "\n".join(inspect(path, tensors=chosen[InspectOptions].tensors)))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
