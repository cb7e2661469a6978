"""Choose answers to questions about texts; see docs/tasks/multiple_choice.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import KeptKeyOptions, LongRowOptions
from uer.config.tasks import ChoiceOptions
from uer.opts.finetune import inference_command, saved_predictor
from uer.opts.tasks import saved_choice_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_c3_infer",
    "Choose the answer to each question about a text; a JSON object a question is written.",
    ChoiceOptions,
    LongRowOptions,
    files=KeptKeyOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options = chosen[KeptKeyOptions]

    from uer.tasks.c3 import C3Task, answers
    from uer.tasks.choice import ChoiceModel
    from uer.tasks.output import line_writer
    from uer.tasks.table import arriving

    tokenizer = chosen_tokenizer(chosen)
    task = C3Task(tokenizer, **saved_choice_options(chosen, ChoiceOptions))
    predictor = saved_predictor(chosen, task, ChoiceModel.build, files=KeptKeyOptions)

    questions = arriving(options.test_path, task.stream(options.test_path, answered=False))
    with predictor, line_writer(options.output) as writer:
        for chunk in questions:
            writer.write(answers(chunk, predictor.logits(task.encode(chunk)), options.keep_columns))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
