"""Predict with a fine-tuned classifier; see docs/tasks/classifier.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.inference import ClassifierInferenceOptions, InferenceOptions
from uer.config.model import ModelConfig
from uer.config.tokenizer import TokenizerOptions
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = Command(
    "inference/run_classifier_infer.py",
    "Predict labels. The saved model says by itself what it is: --load_model_path, --test_path and "
    "--prediction_path are enough.",
    InferenceOptions,
    ClassifierInferenceOptions,
    ModelConfig,
    TokenizerOptions,
    model="saved",
    model_flag="load_model_path",
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options, output = chosen[InferenceOptions], chosen[ClassifierInferenceOptions]
    chosen.start_log()

    from uer.tasks.classifier import ClassifierModel, ClassifierTask, prediction_columns, saved_labels
    from uer.tasks.output import table_writer
    from uer.tasks.predict import in_order
    from uer.tasks.setup import load_saved, pick_device, pick_precision, saved_setting
    from uer.tasks.table import read_chunks

    companion, written = chosen.companion, chosen.written
    tokenizer = chosen_tokenizer(chosen)
    labels = saved_labels(options.load_model_path, companion, written.get("labels_num"))
    task = ClassifierTask(
        tokenizer,
        labels,
        seq_length=saved_setting("seq_length", options.seq_length, written, companion, fixed=False),
        single_text_sep=saved_setting("single_text_sep", output.single_text_sep, written, companion),
    )

    model = ClassifierModel.build(chosen[ModelConfig].replace(labels_num=len(labels)), len(tokenizer))
    load_saved(model, options.load_model_path, companion, task="classifier")
    model.to(pick_device())
    precision = pick_precision(options.precision, model)

    with table_writer(options.output, options.keep_columns) as writer:
        for rows in read_chunks(options.test_path, ("text_a", *options.keep_columns), ("text_b",)):
            logits = in_order(
                model, task, task.encode(rows), batch_size=options.batch_size, precision=precision
            )
            columns = prediction_columns(
                labels, logits, with_logits=output.output_logits, with_prob=output.output_prob
            )
            writer.write(columns, rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
