"""Choose answers to questions about texts; see docs/tasks/multiple_choice.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import DocumentOptions
from uer.config.model import ModelConfig
from uer.config.tasks import ChoiceOptions
from uer.opts.finetune import inference_command
from uer.opts.tasks import saved_choice_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = inference_command(
    "run_c3_infer",
    "Choose the answer to each question about a text; a JSON object a question is written.",
    ChoiceOptions,
    files=DocumentOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options = chosen[DocumentOptions]
    chosen.start_log()

    from uer.tasks.c3 import C3Task, lines
    from uer.tasks.choice import ChoiceModel, predicted_logits
    from uer.tasks.output import write_document
    from uer.tasks.predict import Predictor

    tokenizer = chosen_tokenizer(chosen)
    task = C3Task(tokenizer, **saved_choice_options(chosen, ChoiceOptions))
    model = ChoiceModel.build(chosen[ModelConfig], len(tokenizer))
    predictor = Predictor(task, model, options, chosen.companion)

    questions = task.questions(options.test_path, answered=False)
    encoded = task.settle(task.encode(questions), [question.node for question in questions], False)
    logits = predicted_logits(predictor.stream(encoded), encoded, task.choices_num)
    write_document(options.output, "".join(f"{line}\n" for line in lines(questions, logits)), len(questions))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
