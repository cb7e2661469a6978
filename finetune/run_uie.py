"""Fine-tune a model that extracts what a prompt names; see docs/tasks/uie.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.uie import UieOptions, UieRunOptions
from uer.opts.finetune import finetune_command, prepared
from uer.opts.tokenizer import chosen_tokenizer
from uer.opts.uie import uie_options

COMMAND = finetune_command(
    "run_uie",
    "Fine-tune a model that extracts what a prompt names (UIE); the files have a JSON object a line, of "
    "PaddleNLP's or exported from doccano.",
    UieOptions,
    files=UieRunOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)

    from uer.tasks.uie import HEAD, UieModel, UieTask

    task = UieTask(chosen_tokenizer(chosen), **uie_options(chosen))
    prepared(chosen, task, UieModel.build, head=HEAD, files=UieRunOptions).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
