"""Fine-tune a siamese network on pairs of texts; see docs/tasks/siamese.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions, SiameseOptions
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, length_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_classifier_siamese",
    "Fine-tune two streams that read a text each; the files are tables with the columns label, text_a, "
    "text_b. The JSON config is a dual one, as models/sbert/base_config.json.",
    SiameseOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options, head = chosen[FinetuneOptions], chosen[SiameseOptions]
    chosen.start_log()

    from uer.tasks.classifier import read_labels
    from uer.tasks.finetune import Finetuning
    from uer.tasks.setup import start_config, start_weights
    from uer.tasks.siamese import HEAD, SiameseModel, SiameseTask, read_scale

    set_seed(chosen[TrainOptions].seed)
    tokenizer = chosen_tokenizer(chosen)
    classes = head.objective == "classification"
    labels = read_labels(options.train_path, chosen.written.get("labels_num")) if classes else None
    task = SiameseTask(
        tokenizer,
        labels,
        **length_options(options),
        scale=1.0 if classes else read_scale(options.train_path),
        class_weights=head.class_weights,
        area=options.best_metric == "auc",
    )

    config = start_config(chosen[ModelConfig], options, labels_num=len(labels) if classes else None)
    model = SiameseModel.build(config, len(tokenizer))
    start_weights(model, options, head=HEAD)

    finetuning = Finetuning(task, model, config, **training_options(chosen))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    finetuning.fit(train, dev)
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
