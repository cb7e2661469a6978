"""Make a smaller model of some layers of a larger one: the student that a distillation begins with."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.checkpoints import TakeLayersOptions
from uer.utils.logging import logger


def main(argv: list[str] | None = None) -> int:
    """Weights → some of their layers, with embedding and heads, and a companion."""
    command = Command(
        "scripts/take_layers.py",
        "Write a model of some layers of a larger one; embedding and heads are kept.",
        TakeLayersOptions,
    )
    chosen = command.start(argv)
    options = chosen[TakeLayersOptions]

    from uer.checkpoints import write_state
    from uer.checkpoints.layers import take_layers

    state, companion = take_layers(options.load_model_path, options.layers, options.student)
    write_state(options.output_model_path, state, **(companion.settings() if companion else {}))
    logger.info(
        "Took %s of %s%s: %s.",
        f"the layers {' '.join(map(str, options.layers))}" if options.layers else "all layers",
        "" if options.student is None else f"student {options.student} of ",
        options.load_model_path,
        options.output_model_path,
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
