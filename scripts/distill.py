"""Fine-tune a small classifier that learns from a large one; see docs/tasks/distillation.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import DistillOptions, FinetuneOptions, SingleTextOptions
from uer.errors import ConfigError
from uer.opts.finetune import finetune_command, prepared, text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "distill",
    "Fine-tune a small classifier that learns from a fine-tuned one; files as those of run_classifier.py.",
    DistillOptions,
    SingleTextOptions,
    folder="scripts",
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → teacher → task → student → load → read → fit → test."""
    chosen = COMMAND.start(argv)
    options, files = chosen[DistillOptions], chosen[FinetuneOptions]
    if files.peft is not None:
        raise ConfigError(
            "--peft keeps the student's weights as they are; a student learns all of them: leave it out."
        )

    from uer.tasks.distillation import HEAD, Distillation, DistillTask, build_student, open_teacher

    tokenizer = chosen_tokenizer(chosen)
    teacher, labels = open_teacher(options.teacher_path, tokenizer)
    learning = {"learnt": options.distill, "hard_share": options.hard_share}
    task = DistillTask(tokenizer, labels, **learning, **text_options(chosen))
    build = partial(build_student, teacher=teacher, **learning)
    prepared(chosen, task, build, head=HEAD, kind=Distillation, labels_num=len(labels)).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
