"""Fine-tune a masked language model on texts with a blank to fill; see docs/tasks/prompt.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import PromptOptions, PromptRunOptions
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, length_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_classifier_prompt",
    "Fine-tune a classifier that fills a blank in a template; the files are tables with the columns label, "
    "text_a and, for pairs, text_b. With --epochs_num 0 the pre-trained model is evaluated as it is.",
    PromptOptions,
    files=PromptRunOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → prompt, task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options, prompts = chosen[PromptRunOptions], chosen[PromptOptions]
    chosen.start_log()

    from uer.tasks.finetune import Finetuning
    from uer.tasks.prompt import PromptModel, PromptTask, read_prompt
    from uer.tasks.setup import start_config, start_weights

    set_seed(chosen[TrainOptions].seed)
    tokenizer = chosen_tokenizer(chosen)
    prompt = read_prompt(prompts.prompt_path, prompts.prompt_id, tokenizer)
    task = PromptTask(tokenizer, prompt, **length_options(options))

    config = start_config(chosen[ModelConfig], options, labels_num=len(task.labels))
    model = PromptModel.build(config, len(tokenizer), prompt.answers)
    start_weights(model, options, head=())

    finetuning = Finetuning(task, model, model.config, **training_options(chosen, PromptRunOptions))
    if options.epochs_num:
        train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
        finetuning.fit(train, dev)
    else:
        logger.info("--epochs_num 0: the model is not trained.")
        finetuning.save()
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
