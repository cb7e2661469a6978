"""Fine-tune a classifier of texts or pairs of texts; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import ClassifierOptions, FinetuneOptions, SingleTextOptions
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, text_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_classifier",
    "Fine-tune a classifier; the files are tables with the columns label, text_a and, for pairs, text_b.",
    ClassifierOptions,
    SingleTextOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options, head = chosen[FinetuneOptions], chosen[ClassifierOptions]
    chosen.start_log()

    from uer.tasks.body import HEAD
    from uer.tasks.classifier import ClassifierModel, ClassifierTask, read_labels
    from uer.tasks.finetune import Finetuning
    from uer.tasks.setup import start_config, start_weights

    set_seed(chosen[TrainOptions].seed)
    tokenizer = chosen_tokenizer(chosen)
    labels = read_labels(options.train_path, chosen.written.get("labels_num"), chosen.companion)
    task = ClassifierTask(
        tokenizer,
        labels,
        **text_options(chosen),
        soft_targets=head.soft_targets,
        class_weights=head.class_weights,
        area=options.best_metric == "auc",
    )

    config = start_config(chosen[ModelConfig], options, labels_num=len(labels))
    model = ClassifierModel.build(config, len(tokenizer), soft_alpha=head.soft_alpha)
    start_weights(model, options, head=HEAD)

    finetuning = Finetuning(task, model, config, **training_options(chosen))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    finetuning.fit(train, dev)
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
