"""Fill blanks with idioms; see docs/tasks/multiple_choice.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.inference import PIPE, DocumentOptions
from uer.config.tasks import IdiomOptions
from uer.opts.finetune import inference_command, saved_cut_tokenizer, saved_predictor
from uer.opts.tasks import saved_choice_options

COMMAND = inference_command(
    "run_chid_infer",
    "Fill blanks with idioms; a JSON object blank → number of its candidate is written.",
    IdiomOptions,
    files=DocumentOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log → tokenizer → task → model → load (strict) → read → predict → write."""
    chosen = COMMAND.start(argv)
    options = chosen[DocumentOptions]

    from uer.tasks.chid import ChidTask, fill
    from uer.tasks.choice import ChoiceModel
    from uer.tasks.output import object_writer
    from uer.tasks.table import arriving

    tokenizer = saved_cut_tokenizer(chosen, "char")
    task = ChidTask(tokenizer, **saved_choice_options(chosen, IdiomOptions))
    predictor = saved_predictor(chosen, task, ChoiceModel.build, files=DocumentOptions)

    streams = options.test_path == PIPE
    with predictor, object_writer(options.output, 2, streams=streams) as write:
        for lines in arriving(options.test_path, task.stream(options.test_path)):
            blanks = [blank for line in lines for blank in line]
            filled = fill(blanks, predictor.logits(task.encode(blanks))) if blanks else {}
            for line in lines:
                write({blank.tag: filled[blank.tag] for blank in line})
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
