"""Fine-tune a model that fills blanks with idioms; see docs/tasks/multiple_choice.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.tasks import AnswerFiles, IdiomOptions
from uer.opts.finetune import cut_tokenizer, finetune_command, length_options, prepared

COMMAND = finetune_command(
    "run_chid",
    "Fine-tune a model that fills blanks with idioms; the files are JSON lines like ChID's, and JSON objects "
    "of answers. A character is one token (--tokenizer char) unless another tokenizer is named.",
    IdiomOptions,
    files=AnswerFiles,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)
    options = chosen[AnswerFiles]

    from uer.tasks.chid import ChidTask
    from uer.tasks.choice import HEAD, ChoiceModel

    tokenizer, most = cut_tokenizer(chosen, "char"), chosen[IdiomOptions].max_choices_num
    task = ChidTask(tokenizer, choices_num=most, **length_options(options))
    finetuning = prepared(chosen, task, ChoiceModel.build, head=HEAD, files=AnswerFiles)
    train = task.read_with_answers(options.train_path, options.train_answer_path, training=True)
    dev = task.read_with_answers(options.dev_path, options.dev_answer_path)
    named = options.test_path is not None
    test = task.read_with_answers(options.test_path, options.test_answer_path) if named else None
    finetuning.fit(train, dev)
    if test is not None:
        finetuning.test(test)
    finetuning.close()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
