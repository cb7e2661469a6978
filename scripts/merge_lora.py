"""Take LoRA adapters (a folder in PEFT's layout) into the weights of the model that they were trained on."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.checkpoints import MergeLoraOptions
from uer.utils.logging import logger

COMMAND = Command(
    "scripts/merge_lora.py",
    "Write a model with its adapters taken in: those that fine-tuning with --peft saves as NAME.adapter.",
    MergeLoraOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → base and adapters → merged weights with their companion."""
    chosen = COMMAND.start(argv)
    options = chosen[MergeLoraOptions]

    from uer.checkpoints import read_companion, write_state
    from uer.checkpoints.adapters import merge_adapter

    state, config, labels, extra = merge_adapter(options.load_model_path, options.adapter_path)
    companion = read_companion(options.load_model_path)
    tokenizer = None if companion is None else companion.tokenizer
    write_state(
        options.output_model_path, state, config=config, tokenizer=tokenizer, labels=labels, extra=extra
    )
    logger.info(
        "Merged %s into %s: %s.", options.adapter_path, options.load_model_path, options.output_model_path
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
