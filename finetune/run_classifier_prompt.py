"""Fine-tune a masked language model on texts with a blank to fill; see docs/tasks/prompt.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import PromptOptions, PromptRunOptions
from uer.opts.finetune import finetune_command, length_options, prepared
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger

COMMAND = finetune_command(
    "run_classifier_prompt",
    "Fine-tune a classifier that fills a blank in a template; the files are tables with the columns label, "
    "text_a and, for pairs, text_b. With --epochs_num 0 the pre-trained model is evaluated as it is.",
    PromptOptions,
    files=PromptRunOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → prompt, task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)
    options, prompts = chosen[PromptRunOptions], chosen[PromptOptions]

    from uer.tasks.prompt import PromptModel, PromptTask, read_prompt

    tokenizer = chosen_tokenizer(chosen)
    prompt = read_prompt(prompts.prompt_path, prompts.prompt_id, tokenizer)
    task = PromptTask(tokenizer, prompt, **length_options(options), area=options.area)
    build, labels_num = partial(PromptModel.build, answers=prompt.answers), len(task.labels)
    finetuning = prepared(chosen, task, build, files=PromptRunOptions, labels_num=labels_num)
    finetuning.config = finetuning.model.config  # its only target is mlm
    if options.epochs_num:
        finetuning.run()
        return 0
    logger.info("--epochs_num 0: the model is not trained.")
    finetuning.save()
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    finetuning.close()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
