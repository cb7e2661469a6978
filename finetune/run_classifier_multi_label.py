"""Fine-tune a classifier of several labels a row; see docs/tasks/multi_label.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions, MultiLabelOptions, SingleTextOptions
from uer.opts.finetune import finetune_command, prepared, text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "run_classifier_multi_label",
    "Fine-tune a classifier of several labels a row, which stand in the column label with commas between.",
    MultiLabelOptions,
    SingleTextOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)
    options, decision = chosen[FinetuneOptions], chosen[MultiLabelOptions]

    from uer.tasks.body import HEAD
    from uer.tasks.multi_label import MultiLabelModel, MultiLabelTask, read_label_sets

    tokenizer = chosen_tokenizer(chosen)
    labels = read_label_sets(options.train_path, chosen.written.get("labels_num"))
    choose_by = (options.best_metric or "acc") if decision.choose_threshold else None
    settings = text_options(chosen)
    task = MultiLabelTask(tokenizer, labels, threshold=decision.threshold, choose_by=choose_by, **settings)
    prepared(chosen, task, MultiLabelModel.build, head=HEAD, labels_num=len(labels)).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
