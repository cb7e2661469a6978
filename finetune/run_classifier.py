"""Fine-tune a classifier of texts or pairs of texts; see docs/tasks/classifier.md."""

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
    "run_classifier",
    "Fine-tune a classifier; the files are tables with the columns label, text_a and, for pairs, text_b.",
    ClassifierOptions,
    SingleTextOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)
    options = chosen[FinetuneOptions]

    from uer.tasks.body import HEAD
    from uer.tasks.classifier import ClassifierModel, ClassifierTask, read_labels

    tokenizer = chosen_tokenizer(chosen)
    labels = read_labels(options.train_path, chosen.written.get("labels_num"), chosen.companion)
    task = ClassifierTask(tokenizer, labels, **learning_options(chosen), area=options.area)
    build = partial(ClassifierModel.build, soft_alpha=chosen[ClassifierOptions].soft_alpha)
    prepared(chosen, task, build, head=HEAD, labels_num=len(labels)).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
