"""Predict with a fine-tuned prompt; see docs/tasks/prompt.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import PromptOptions
from uer.config.inference import InferenceOptions, LongRowOptions, ScoreOutputOptions
from uer.opts.finetune import inference_command, saved_length_options, saved_predictor
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_classifier_prompt_infer",
    "Predict labels by filling the blank of a template, which is the saved model's own unless one is typed.",
    PromptOptions,
    ScoreOutputOptions,
    LongRowOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → prompt, task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options, output, prompts = chosen[InferenceOptions], chosen[ScoreOutputOptions], chosen[PromptOptions]

    from uer.tasks.classifier import prediction_columns
    from uer.tasks.predict import predict_table
    from uer.tasks.prompt import Prompt, PromptModel, PromptTask, read_prompt
    from uer.tasks.setup import check_task

    check_task(options.load_model_path, chosen.companion, PromptTask.name)
    tokenizer = chosen_tokenizer(chosen)
    saved = None if chosen.companion is None else chosen.companion.extra.get("prompt")
    if saved is None or {"prompt_id", "prompt_path"} & set(chosen.written):
        prompt = read_prompt(prompts.prompt_path, prompts.prompt_id, tokenizer)
    else:
        prompt = Prompt(**saved, tokenizer=tokenizer)
    task = PromptTask(tokenizer, prompt, **saved_length_options(chosen))
    predictor = saved_predictor(chosen, task, partial(PromptModel.build, answers=prompt.answers))

    def columns(rows: list[dict[str, str]]) -> dict[str, list[str]]:
        logits = predictor.logits(task.encode(rows))
        return prediction_columns(task.labels, logits, output.output_logits, output.output_prob)

    predict_table(predictor, options, columns, required=task.columns())
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
