"""Predict with a multi-label classifier; see docs/tasks/multi_label.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SingleTextOptions
from uer.config.inference import InferenceOptions, LongRowOptions, ScoreOutputOptions, ThresholdOptions
from uer.config.model import ModelConfig
from uer.opts.finetune import inference_command, saved_setting, saved_text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_classifier_multi_label_infer",
    "Predict the labels of texts or pairs, several a row.",
    ScoreOutputOptions,
    ThresholdOptions,
    SingleTextOptions,
    LongRowOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options, output = chosen[InferenceOptions], chosen[ScoreOutputOptions]
    chosen.start_log()

    from uer.tasks.classifier import saved_labels
    from uer.tasks.multi_label import MultiLabelModel, MultiLabelTask
    from uer.tasks.output import table_writer
    from uer.tasks.predict import Predictor
    from uer.tasks.table import read_chunks

    tokenizer = chosen_tokenizer(chosen)
    typed = chosen.written.get("labels_num")
    labels = saved_labels(options.load_model_path, chosen.companion, typed, task=MultiLabelTask.name)
    threshold = saved_setting(chosen, "threshold", chosen[ThresholdOptions].threshold, fixed=False)
    task = MultiLabelTask(tokenizer, labels, threshold=threshold, **saved_text_options(chosen))
    model = MultiLabelModel.build(chosen[ModelConfig].replace(labels_num=len(labels)), len(tokenizer))
    predictor = Predictor(task, model, options, chosen.companion)

    with predictor, table_writer(options.output, options.keep_columns) as writer:
        for rows in read_chunks(options.test_path, ("text_a", *options.keep_columns), ("text_b",)):
            logits = predictor.logits(task.encode(rows))
            writer.write(task.columns(logits, output.output_logits, output.output_prob), rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
