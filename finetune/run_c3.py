"""Fine-tune a model that chooses the answer to a question about a text; see docs/tasks/multiple_choice.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions
from uer.config.model import ModelConfig
from uer.config.tasks import ChoiceOptions
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, length_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_c3",
    "Fine-tune a model that chooses the answer to a question about a text; the files are JSON like C3's.",
    ChoiceOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options = chosen[FinetuneOptions]
    chosen.start_log()

    from uer.tasks.c3 import C3Task
    from uer.tasks.choice import HEAD, ChoiceModel
    from uer.tasks.finetune import Finetuning
    from uer.tasks.setup import start_config, start_weights

    set_seed(chosen[TrainOptions].seed)
    tokenizer = chosen_tokenizer(chosen)
    task = C3Task(tokenizer, choices_num=chosen[ChoiceOptions].max_choices_num, **length_options(options))

    config = start_config(chosen[ModelConfig], options)
    model = ChoiceModel.build(config, len(tokenizer))
    start_weights(model, options, head=HEAD)

    finetuning = Finetuning(task, model, config, **training_options(chosen))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    finetuning.fit(train, dev)
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
