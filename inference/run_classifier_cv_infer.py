"""Mean probabilities by the models of a cross validation; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SingleTextOptions, fold_path
from uer.config.inference import FoldOptions, LongRowOptions, ScoreOutputOptions
from uer.config.model import ModelConfig
from uer.opts.finetune import FoldCommand, inference_command, saved_setting, saved_text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_classifier_cv_infer",
    "Write the mean over the folds of each row's probabilities, an array for stacking.",
    ScoreOutputOptions,
    SingleTextOptions,
    LongRowOptions,
    files=FoldOptions,
    command=FoldCommand,
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → read → for each fold: load (strict), predict → write."""
    chosen = COMMAND.start(argv)
    options, output = chosen[FoldOptions], chosen[ScoreOutputOptions]

    from uer.metrics.classification import softmax
    from uer.tasks.classifier import ClassifierModel, ClassifierTask, saved_labels
    from uer.tasks.cross_validation import write_features
    from uer.tasks.overflow import LongRows
    from uer.tasks.predict import Predictor
    from uer.tasks.table import read_table
    from uer.utils.logging import logger

    if output.output_logits or output.output_prob:
        logger.info("--output_logits and --output_prob have no effect here: the array holds probabilities.")
    tokenizer, typed = chosen_tokenizer(chosen), chosen.written.get("labels_num")
    count = saved_setting(chosen, "folds_num", FoldOptions.folds_num)
    paths = [fold_path(options.load_model_path, number) for number in range(count)]
    labels = saved_labels(paths[0], chosen.companion, typed, task=ClassifierTask.name)
    task = ClassifierTask(tokenizer, labels, **saved_text_options(chosen))
    model = ClassifierModel.build(chosen[ModelConfig].replace(labels_num=len(labels)), len(tokenizer))
    examples, long = task.encode(read_table(options.test_path, ("text_a",), ("text_b",)).rows), LongRows()
    long.add(examples)
    long.warn(options.test_path, task.seq_length)

    total = 0
    for path in paths:
        total = total + softmax(Predictor(task, model, options, chosen.companion, path).logits(examples))
    write_features(options.test_features_path, total / len(paths))
    print(f"The number of prediction instances:  {examples.rows_num}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
