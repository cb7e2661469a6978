"""Search learning rate, batch size and number of epochs of a classifier; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.finetune import ClassifierOptions, FinetuneOptions, GridOptions
from uer.config.model import ModelConfig
from uer.config.tokenizer import TokenizerOptions
from uer.config.training import AdversarialOptions, OptimizerOptions, TrainOptions
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger
from uer.utils.seed import set_seed

COMMAND = Command(
    "finetune/run_classifier_grid.py",
    "Try all combinations of learning rates, batch sizes and numbers of epochs. A search that was stopped "
    "goes on when the same command is typed again.",
    FinetuneOptions,
    GridOptions,
    ClassifierOptions,
    ModelConfig,
    TokenizerOptions,
    OptimizerOptions,
    TrainOptions,
    AdversarialOptions,
    compat=("fp16_opt_level",),
    model="new",
)
EVALUATION_ROWS = 64  # rows of a batch of the development file, the same in all trials


def main(argv: list[str] | None = None) -> int:
    """Options → tokenizer → task → model → load → read → every trial from the same weights."""
    chosen = COMMAND.parse(argv)
    options, head, training = chosen[FinetuneOptions], chosen[ClassifierOptions], chosen[TrainOptions]
    chosen.start_log()

    from uer.checkpoints import adapt_config
    from uer.tasks.classifier import HEAD, ClassifierModel, ClassifierTask, read_labels
    from uer.tasks.finetune import finetune
    from uer.tasks.predict import evaluate
    from uer.tasks.search import TrialTable, grid, search, search_key
    from uer.tasks.setup import pick_device, pick_precision, start_weights

    plans = {  # made first: a setting that cannot work stops the search before it begins
        setting: (
            training.replace(batch_size=setting.batch_size),
            chosen[OptimizerOptions].replace(learning_rate=setting.learning_rate),
        )
        for setting in grid(chosen[GridOptions])
    }
    set_seed(training.seed)
    tokenizer = chosen_tokenizer(chosen)
    labels = read_labels(options.train_path, chosen.written.get("labels_num"))
    task = ClassifierTask(
        tokenizer,
        labels,
        seq_length=options.seq_length,
        single_text_sep=head.single_text_sep,
        soft_targets=head.soft_targets,
    )

    config = chosen[ModelConfig].replace(labels_num=len(labels))
    if options.pretrained_model_path:
        config = adapt_config(config, options.pretrained_model_path)
    model = ClassifierModel.build(config, len(tokenizer), soft_alpha=head.soft_alpha)
    start_weights(model, options.pretrained_model_path, head=HEAD, allow_missing=options.allow_missing)
    model.to(pick_device())
    precision = pick_precision(training.precision, model)
    start = {name: x.clone() for name, x in model.state_dict().items()}
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)

    def attempt(setting):
        """One trial, from the same weights and seed whatever was tried before."""
        model.load_state_dict(start)
        training, optimization = plans[setting]
        return finetune(
            model,
            task,
            train,
            epochs_num=setting.epochs_num,
            training=training,
            optimization=optimization,
            adversarial=chosen[AdversarialOptions],
            precision=precision,
            evaluate=lambda: evaluate(model, task, dev, batch_size=EVALUATION_ROWS, precision=precision),
            best_metric=options.best_metric,
            quiet=True,
        )

    files = (options.train_path, options.dev_path, options.pretrained_model_path)
    key = search_key(chosen.effective(), files, tokenizer=tokenizer.fingerprint(), precision=precision.name)
    path = chosen[GridOptions].grid_path or f"{options.output_model_path}.grid.csv"
    metric = options.best_metric or next(iter(task.metric().scores()))
    logger.info("Start training.")
    search(list(plans), TrialTable(path, key, metric), attempt)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
