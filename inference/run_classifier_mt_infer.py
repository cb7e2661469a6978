"""Predict with a classifier of several data sets; see docs/tasks/multi_task.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SingleTextOptions
from uer.config.inference import (
    InferenceOptions,
    LongRowOptions,
    MultiTaskInferenceOptions,
    ScoreOutputOptions,
)
from uer.opts.finetune import inference_command, saved_predictor, saved_text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_classifier_mt_infer",
    "Predict the labels of all data sets that a classifier was trained on.",
    ScoreOutputOptions,
    MultiTaskInferenceOptions,
    SingleTextOptions,
    LongRowOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → tasks → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options, output = chosen[InferenceOptions], chosen[ScoreOutputOptions]

    from uer.tasks.classifier import ClassifierTask
    from uer.tasks.multi_task import MultiTask, MultiTaskModel, saved_label_lists
    from uer.tasks.predict import predict_table

    tokenizer = chosen_tokenizer(chosen)
    sizes = chosen[MultiTaskInferenceOptions].labels_num_list
    lists = saved_label_lists(options.load_model_path, chosen.companion, sizes)
    settings = saved_text_options(chosen)
    task = MultiTask([ClassifierTask(tokenizer, labels, **settings) for labels in lists])
    predictor = saved_predictor(chosen, task, partial(MultiTaskModel.build, sizes=task.sizes))

    def columns(rows: list[dict[str, str]]) -> dict[str, list[str]]:
        logits = predictor.logits(task.tasks[0].encode(rows))
        return task.columns(logits, output.output_logits, output.output_prob)

    predict_table(predictor, options, columns, optional=("text_b",))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
