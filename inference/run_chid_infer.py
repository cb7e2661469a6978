"""Fill blanks with idioms; see docs/tasks/multiple_choice.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import DocumentOptions
from uer.config.model import ModelConfig
from uer.config.tasks import IdiomOptions
from uer.opts.finetune import inference_command, saved_cut_tokenizer
from uer.opts.tasks import saved_choice_options

COMMAND = inference_command(
    "run_chid_infer",
    "Fill blanks with idioms; a JSON object blank → number of its candidate is written.",
    IdiomOptions,
    files=DocumentOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.parse(argv)
    options = chosen[DocumentOptions]
    chosen.start_log()

    from uer.tasks.chid import ChidTask, fill
    from uer.tasks.choice import ChoiceModel, predicted_logits
    from uer.tasks.output import write_document
    from uer.tasks.predict import Predictor

    tokenizer = saved_cut_tokenizer(chosen, "char")
    task = ChidTask(tokenizer, **saved_choice_options(chosen, IdiomOptions))
    model = ChoiceModel.build(chosen[ModelConfig], len(tokenizer))
    predictor = Predictor(task, model, options, chosen.companion)

    blanks = task.blanks(options.test_path)
    encoded = task.encode(blanks)
    logits = predicted_logits(predictor.stream(encoded), encoded, task.choices_num)
    write_document(options.output, json.dumps(fill(blanks, logits), indent=2) + "\n", len(blanks))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
