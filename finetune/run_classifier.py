"""Fine-tune a classifier of texts or pairs of texts; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.finetune import ClassifierOptions, FinetuneOptions
from uer.config.model import ModelConfig
from uer.config.tokenizer import TokenizerOptions
from uer.config.training import AdversarialOptions, OptimizerOptions, TrainOptions
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger
from uer.utils.seed import set_seed

COMMAND = Command(
    "finetune/run_classifier.py",
    "Fine-tune a classifier; the files are tables with the columns label, text_a and, for pairs, text_b.",
    FinetuneOptions,
    ClassifierOptions,
    ModelConfig,
    TokenizerOptions,
    OptimizerOptions,
    TrainOptions,
    AdversarialOptions,
    compat=("fp16_opt_level",),
    model="new",
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log, device → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options, head, training = chosen[FinetuneOptions], chosen[ClassifierOptions], chosen[TrainOptions]
    chosen.start_log()

    from uer.checkpoints import adapt_config, load_into
    from uer.tasks.classifier import HEAD, ClassifierModel, ClassifierTask, read_labels
    from uer.tasks.finetune import finetune
    from uer.tasks.predict import evaluate
    from uer.tasks.setup import pick_device, pick_precision, save_model, start_weights
    from uer.training.runlog import run_folder

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

    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    logger.info(f"Batch size: {training.batch_size}")
    logger.info(f"The number of training instances: {len(train)}")

    def score(examples):
        return evaluate(model, task, examples, batch_size=training.batch_size, precision=precision)

    def save():
        extra = {"task": "classifier", "seq_length": task.seq_length, "single_text_sep": task.single_text_sep}
        save_model(options.output_model_path, model, config, tokenizer, labels=labels.names, extra=extra)

    logger.info("Start training.")
    best = finetune(
        model,
        task,
        train,
        epochs_num=options.epochs_num,
        training=training,
        optimization=chosen[OptimizerOptions],
        adversarial=chosen[AdversarialOptions],
        precision=precision,
        evaluate=lambda: score(dev),
        save=save,
        best_metric=options.best_metric,
        run_folder=run_folder(options.output_model_path),
        settings=chosen.effective(),
    )
    logger.info(f"Best epoch: {best.epoch}, score {best.score:.4f}; model: {options.output_model_path}")

    if options.test_path:
        logger.info("Test set evaluation.")
        load_into(model, options.output_model_path, flag="--output_model_path")
        for line in score(task.read(options.test_path)).report():
            logger.info(line)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
