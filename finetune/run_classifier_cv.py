"""Cross validation of a classifier, with features for stacking; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import ClassifierOptions, CrossValidationOptions, SingleTextOptions, fold_path
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, text_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_classifier_cv",
    "Train a classifier on all folds of a file but one, for each fold; the probabilities of each row by the "
    "model that did not see it are written for stacking.",
    ClassifierOptions,
    SingleTextOptions,
    files=CrossValidationOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → tokenizer → task → model → load → read → for each fold: fit, keep, predict → write."""
    chosen = COMMAND.parse(argv)
    options, head = chosen[CrossValidationOptions], chosen[ClassifierOptions]
    chosen.start_log()

    import numpy as np

    from uer.metrics.classification import softmax
    from uer.tasks.body import HEAD
    from uer.tasks.classifier import ClassifierModel, ClassifierTask, read_labels
    from uer.tasks.cross_validation import folds, report, write_features
    from uer.tasks.finetune import Finetuning, finetune, shuffled
    from uer.tasks.predict import in_order
    from uer.tasks.setup import start_config, start_weights

    set_seed(chosen[TrainOptions].seed)
    tokenizer = chosen_tokenizer(chosen)
    labels = read_labels(options.train_path, chosen.written.get("labels_num"))
    task = ClassifierTask(
        tokenizer,
        labels,
        **text_options(chosen, CrossValidationOptions),
        soft_targets=head.soft_targets,
        class_weights=head.class_weights,
    )
    config = start_config(chosen[ModelConfig], options, labels_num=len(labels))
    model = ClassifierModel.build(config, len(tokenizer), soft_alpha=head.soft_alpha)
    start_weights(model, options, head=HEAD)
    run_of = Finetuning(task, model, config, **training_options(chosen, CrossValidationOptions))
    start = {name: x.clone() for name, x in model.state_dict().items()}
    rows = task.read(options.train_path, training=True)
    logger.info(f"The number of training instances: {len(rows)}")

    features, confusions = np.empty((len(rows), len(labels)), np.float32), []
    for number, held_out in enumerate(folds(len(rows), options.folds_num, options.train_path)):
        model.load_state_dict(start)
        seen, unseen = rows.take(np.setdiff1d(np.arange(len(rows)), held_out)), rows.take(held_out)
        batches = shuffled(task, seen, run_of.training)
        finetune(
            model,
            task,
            batches,
            options=options,
            eval_steps=batches.period * options.epochs_num,
            training=run_of.training,
            optimization=run_of.optimization,
            adversarial=run_of.adversarial,
            precision=run_of.precision,
            score=lambda unseen=unseen: run_of.evaluate(unseen),
        )
        run_of.save(fold_path(options.output_model_path, number))
        logits = in_order(
            model, task, unseen, batch_size=run_of.training.batch_size, precision=run_of.precision
        )
        features[held_out] = softmax(logits)
        metric = task.metric().confusion
        metric.update(logits.argmax(axis=1), unseen.labels["cls"])
        confusions.append(metric)

    for line in report(confusions):
        logger.info(line)
    logger.info(f"Wrote {write_features(options.train_features_path, features)}.")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
