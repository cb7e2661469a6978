"""Predict with a fine-tuned prompt; see docs/tasks/prompt.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import PromptOptions
from uer.config.inference import InferenceOptions, LongRowOptions, ScoreOutputOptions
from uer.config.model import ModelConfig
from uer.opts.finetune import inference_command, saved_length_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_classifier_prompt_infer",
    "Predict labels by filling the blank of a template, which is the saved model's own unless one is typed.",
    PromptOptions,
    ScoreOutputOptions,
    LongRowOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → prompt, task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options, output, prompts = chosen[InferenceOptions], chosen[ScoreOutputOptions], chosen[PromptOptions]
    chosen.start_log()

    from uer.tasks.classifier import prediction_columns
    from uer.tasks.output import table_writer
    from uer.tasks.predict import Predictor
    from uer.tasks.prompt import Prompt, PromptModel, PromptTask, read_prompt
    from uer.tasks.table import read_chunks

    tokenizer = chosen_tokenizer(chosen)
    saved = None if chosen.companion is None else chosen.companion.extra.get("prompt")
    if saved is None or {"prompt_id", "prompt_path"} & set(chosen.written):
        prompt = read_prompt(prompts.prompt_path, prompts.prompt_id, tokenizer)
    else:
        prompt = Prompt(**saved, tokenizer=tokenizer)
    task = PromptTask(tokenizer, prompt, **saved_length_options(chosen))
    model = PromptModel.build(chosen[ModelConfig], len(tokenizer), prompt.answers)
    predictor = Predictor(task, model, options, chosen.companion)

    with predictor, table_writer(options.output, options.keep_columns) as writer:
        for rows in read_chunks(options.test_path, (*task.columns(), *options.keep_columns)):
            logits = predictor.logits(task.encode(rows))
            columns = prediction_columns(task.labels, logits, output.output_logits, output.output_prob)
            writer.write(columns, rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
