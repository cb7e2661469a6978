"""Fine-tune a model that gives a number for a text or a pair; see docs/tasks/regression.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SingleTextOptions
from uer.opts.finetune import finetune_command, prepared, text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "run_regression",
    "Fine-tune a model that gives a number; the files are tables with the columns label, text_a, text_b.",
    SingleTextOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)

    from uer.tasks.body import HEAD
    from uer.tasks.regression import RegressionModel, RegressionTask

    task = RegressionTask(chosen_tokenizer(chosen), **text_options(chosen))
    prepared(chosen, task, RegressionModel.build, head=HEAD).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
