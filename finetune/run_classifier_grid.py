"""Search learning rate, batch size and number of epochs of a classifier; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import ClassifierOptions, FinetuneOptions, GridOptions, SingleTextOptions
from uer.config.model import ModelConfig
from uer.config.training import OptimizerOptions, TrainOptions
from uer.opts.finetune import finetune_command, text_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_classifier_grid",
    "Try all combinations of learning rates, batch sizes and numbers of epochs. A search that was stopped "
    "goes on when the same command is typed again.",
    GridOptions,
    ClassifierOptions,
    SingleTextOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → tokenizer → task → model → load → read → every trial from the same weights."""
    chosen = COMMAND.parse(argv)
    options, head, training = chosen[FinetuneOptions], chosen[ClassifierOptions], chosen[TrainOptions]
    chosen.start_log()

    from uer.tasks.body import HEAD
    from uer.tasks.classifier import ClassifierModel, ClassifierTask, read_labels
    from uer.tasks.finetune import Finetuning, finetune, shuffled
    from uer.tasks.search import Setting, TrialTable, grid, search, search_key
    from uer.tasks.setup import start_config, start_weights

    plans = {  # made first: a setting that cannot work stops the search before it begins
        setting: {
            "options": options.replace(epochs_num=setting.epochs_num),
            "training": training.replace(batch_size=setting.batch_size),
            "optimization": chosen[OptimizerOptions].replace(learning_rate=setting.learning_rate),
        }
        for setting in grid(chosen[GridOptions])
    }
    set_seed(training.seed)
    tokenizer = chosen_tokenizer(chosen)
    labels = read_labels(options.train_path, chosen.written.get("labels_num"))
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
    common = Finetuning(task, model, config, **training_options(chosen))
    start = {name: x.clone() for name, x in model.state_dict().items()}
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)

    def attempt(setting: Setting):
        """One trial, from the same weights and seed whatever was tried before."""
        model.load_state_dict(start)
        return finetune(
            model,
            task,
            shuffled(task, train, plans[setting]["training"]),
            **plans[setting],
            adversarial=common.adversarial,
            precision=common.precision,
            score=lambda: common.evaluate(dev),
            quiet=True,
        )

    if chosen[GridOptions].search is not None:
        from uer.tasks.search_run import run_search

        typed = {"config_path": chosen.config_path, **chosen.written}
        return run_search(chosen.effective(), chosen[GridOptions], typed, common, train, dev)
    key = search_key(
        chosen.effective(),
        (options.train_path, options.dev_path, options.pretrained_model_path),
        tokenizer=tokenizer.fingerprint(),
        precision=common.precision.name,
    )
    path = chosen[GridOptions].grid_path or f"{options.output_model_path}.grid.csv"
    metric = options.best_metric or next(iter(task.metric().scores()))
    logger.info("Start training.")
    search(list(plans), TrialTable(path, key, metric), attempt)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
