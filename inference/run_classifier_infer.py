"""Predict with a fine-tuned classifier; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SingleTextOptions
from uer.config.inference import InferenceOptions, LongRowOptions, ScoreOutputOptions
from uer.opts.compat import DEEPSPEED_INFERENCE
from uer.opts.finetune import inference_command, saved_predictor, saved_text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_classifier_infer",
    "Predict labels of texts or pairs of texts.",
    ScoreOutputOptions,
    SingleTextOptions,
    LongRowOptions,
    compat=DEEPSPEED_INFERENCE,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options, output = chosen[InferenceOptions], chosen[ScoreOutputOptions]

    from uer.tasks.classifier import ClassifierModel, ClassifierTask, prediction_columns, saved_labels
    from uer.tasks.predict import predict_table

    tokenizer = chosen_tokenizer(chosen)
    typed = chosen.written.get("labels_num")
    labels = saved_labels(options.load_model_path, chosen.companion, typed, task=ClassifierTask.name)
    task = ClassifierTask(tokenizer, labels, **saved_text_options(chosen))
    predictor = saved_predictor(chosen, task, ClassifierModel.build, labels_num=len(labels))

    def columns(rows: list[dict[str, str]]) -> dict[str, list[str]]:
        logits = predictor.logits(task.encode(rows))
        return prediction_columns(labels, logits, output.output_logits, output.output_prob)

    predict_table(predictor, options, columns, optional=("text_b",))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
