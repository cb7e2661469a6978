"""Fine-tune a classifier of several labels a row; see docs/tasks/multi_label.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions, MultiLabelOptions, SingleTextOptions
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, text_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_classifier_multi_label",
    "Fine-tune a classifier of several labels a row, which stand in the column label with commas between.",
    MultiLabelOptions,
    SingleTextOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options, decision = chosen[FinetuneOptions], chosen[MultiLabelOptions]
    chosen.start_log()

    from uer.tasks.body import HEAD
    from uer.tasks.finetune import Finetuning
    from uer.tasks.multi_label import MultiLabelModel, MultiLabelTask, read_label_sets
    from uer.tasks.setup import start_config, start_weights

    set_seed(chosen[TrainOptions].seed)
    tokenizer = chosen_tokenizer(chosen)
    labels = read_label_sets(options.train_path, chosen.written.get("labels_num"))
    choose_by = (options.best_metric or "acc") if decision.choose_threshold else None
    settings = text_options(chosen)
    task = MultiLabelTask(tokenizer, labels, threshold=decision.threshold, choose_by=choose_by, **settings)

    config = start_config(chosen[ModelConfig], options, labels_num=len(labels))
    model = MultiLabelModel.build(config, len(tokenizer))
    start_weights(model, options, head=HEAD)

    finetuning = Finetuning(task, model, config, **training_options(chosen))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    finetuning.fit(train, dev)
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
