"""Predict numbers for texts or pairs; see docs/tasks/regression.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SingleTextOptions
from uer.config.inference import InferenceOptions, LongRowOptions
from uer.config.model import ModelConfig
from uer.opts.finetune import inference_command, saved_text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_regression_infer",
    "Predict a number for texts or pairs of texts.",
    SingleTextOptions,
    LongRowOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options = chosen[InferenceOptions]
    chosen.start_log()

    from uer.tasks.output import table_writer
    from uer.tasks.predict import Predictor
    from uer.tasks.regression import RegressionModel, RegressionTask
    from uer.tasks.table import read_chunks

    tokenizer = chosen_tokenizer(chosen)
    task = RegressionTask(tokenizer, **saved_text_options(chosen))
    model = RegressionModel.build(chosen[ModelConfig], len(tokenizer))
    predictor = Predictor(task, model, options, chosen.companion)

    with predictor, table_writer(options.output, options.keep_columns) as writer:
        for rows in read_chunks(options.test_path, ("text_a", *options.keep_columns), ("text_b",)):
            predicted = predictor.logits(task.encode(rows))[:, 0]
            writer.write({"label": [str(number) for number in predicted.tolist()]}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
