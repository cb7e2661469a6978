"""Fine-tune a model that finds the sentences that answer a question; see docs/tasks/dbqa.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import ClassifierOptions, FinetuneOptions, SingleTextOptions
from uer.opts.finetune import finetune_command, learning_options, prepared
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "run_dbqa",
    "Fine-tune a model that finds the sentences that answer a question; the columns are "
    "qid, label, text_a, text_b. inference/run_classifier_infer.py predicts with it.",
    ClassifierOptions,
    SingleTextOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)
    options = chosen[FinetuneOptions]

    from uer.tasks.body import HEAD
    from uer.tasks.classifier import ClassifierModel, read_labels
    from uer.tasks.dbqa import DbqaTask, question_labels

    tokenizer = chosen_tokenizer(chosen)
    labels = question_labels(options.train_path, read_labels(options.train_path))
    task = DbqaTask(tokenizer, labels, **learning_options(chosen))
    build = partial(ClassifierModel.build, soft_alpha=chosen[ClassifierOptions].soft_alpha)
    prepared(chosen, task, build, head=HEAD, labels_num=len(labels)).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
