"""Search learning rate, batch size and number of epochs of a classifier; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import ClassifierOptions, FinetuneOptions, GridOptions, SingleTextOptions
from uer.config.training import OptimizerOptions, TrainOptions
from uer.opts.finetune import finetune_command, learning_options, prepared
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger

COMMAND = finetune_command(
    "run_classifier_grid",
    "Try all combinations of learning rates, batch sizes and numbers of epochs. A search that was stopped "
    "goes on when the same command is typed again.",
    GridOptions,
    ClassifierOptions,
    SingleTextOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → every trial from the same weights."""
    chosen = COMMAND.start(argv)
    options, asked = chosen[FinetuneOptions], chosen[GridOptions]
    if asked.search is not None:
        from uer.tasks.study import warm

        warm()

    from uer.tasks.body import HEAD
    from uer.tasks.classifier import ClassifierModel, ClassifierTask, read_labels
    from uer.tasks.search import TrialTable, attempts, planned, search, search_key

    plans = planned(asked, options, chosen[TrainOptions], chosen[OptimizerOptions])
    tokenizer = chosen_tokenizer(chosen)
    labels = read_labels(options.train_path, chosen.written.get("labels_num"))
    task = ClassifierTask(tokenizer, labels, **learning_options(chosen), area=options.area)
    build = partial(ClassifierModel.build, soft_alpha=chosen[ClassifierOptions].soft_alpha)
    common = prepared(chosen, task, build, head=HEAD, labels_num=len(labels))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    if asked.search is not None:
        from uer.tasks.search_run import run_search

        typed = {"config_path": chosen.config_path, **chosen.written}
        return run_search(chosen.effective(), asked, typed, common, train, dev)
    key = search_key(
        chosen.effective(),
        (options.train_path, options.dev_path, options.pretrained_model_path),
        tokenizer=tokenizer.fingerprint(),
        precision=common.precision.name,
    )
    path = asked.grid_path or f"{options.output_model_path}.grid.csv"
    metric = options.best_metric or next(iter(task.metric().scores()))
    logger.info("Start training.")
    search(list(plans), TrialTable(path, key, metric), attempts(common, plans, train, dev))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
