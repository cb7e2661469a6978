"""Predict numbers for texts or pairs; see docs/tasks/regression.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SingleTextOptions
from uer.config.inference import InferenceOptions, LongRowOptions
from uer.opts.finetune import inference_command, saved_predictor, saved_text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_regression_infer",
    "Predict a number for texts or pairs of texts.",
    SingleTextOptions,
    LongRowOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options = chosen[InferenceOptions]

    from uer.tasks.predict import predict_table
    from uer.tasks.regression import RegressionModel, RegressionTask

    task = RegressionTask(chosen_tokenizer(chosen), **saved_text_options(chosen))
    predictor = saved_predictor(chosen, task, RegressionModel.build)

    def columns(rows: list[dict[str, str]]) -> dict[str, list[str]]:
        return {"label": [str(number) for number in predictor.logits(task.encode(rows))[:, 0].tolist()]}

    predict_table(predictor, options, columns, optional=("text_b",))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
