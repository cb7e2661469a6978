"""Cross validation of a classifier, with features for stacking; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import ClassifierOptions, CrossValidationOptions, SingleTextOptions
from uer.opts.finetune import finetune_command, learning_options, prepared
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger

COMMAND = finetune_command(
    "run_classifier_cv",
    "Train a classifier on all folds of a file but one, for each fold; the probabilities of each row by the "
    "model that did not see it are written for stacking.",
    ClassifierOptions,
    SingleTextOptions,
    files=CrossValidationOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → each fold: fit, keep, predict → write."""
    chosen = COMMAND.start(argv)
    options = chosen[CrossValidationOptions]

    from uer.tasks.body import HEAD
    from uer.tasks.classifier import ClassifierModel, ClassifierTask, read_labels
    from uer.tasks.cross_validation import cross_validate, report, write_features

    tokenizer = chosen_tokenizer(chosen)
    labels = read_labels(options.train_path, chosen.written.get("labels_num"))
    task = ClassifierTask(tokenizer, labels, **learning_options(chosen, CrossValidationOptions))
    build = partial(ClassifierModel.build, soft_alpha=chosen[ClassifierOptions].soft_alpha)
    files, labels_num = CrossValidationOptions, len(labels)
    finetuning = prepared(chosen, task, build, head=HEAD, files=files, labels_num=labels_num)
    rows = task.read(options.train_path, training=True)
    logger.info(f"The number of training instances: {len(rows)}")
    features, confusions = cross_validate(finetuning, rows)
    for line in report(confusions):
        logger.info(line)
    logger.info(f"Wrote {write_features(options.train_features_path, features)}. To predict, type:")
    logger.info(
        f"python3 inference/run_classifier_cv_infer.py --load_model_path {options.output_model_path} "
        "--test_path FILE --test_features_path FILE"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
