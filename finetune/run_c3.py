"""Fine-tune a model that chooses the answer to a question about a text; see docs/tasks/multiple_choice.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions
from uer.config.tasks import ChoiceOptions
from uer.opts.finetune import finetune_command, length_options, prepared
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "run_c3",
    "Fine-tune a model that chooses the answer to a question about a text; the files are JSON like C3's.",
    ChoiceOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)

    from uer.tasks.c3 import C3Task
    from uer.tasks.choice import HEAD, ChoiceModel

    most, length = chosen[ChoiceOptions].max_choices_num, length_options(chosen[FinetuneOptions])
    task = C3Task(chosen_tokenizer(chosen), choices_num=most, **length)
    prepared(chosen, task, ChoiceModel.build, head=HEAD).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
