"""Fine-tune a model that writes a text for a text; see docs/tasks/text2text.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import FinetuneOptions
from uer.config.model import ModelConfig
from uer.config.tasks import Text2textOptions
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, training_options
from uer.opts.tasks import text2text_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_text2text",
    "Fine-tune an encoder-decoder that writes a text for a text; the files are tables with the columns label "
    "(the wanted text), text_a, text_b, prefix.",
    Text2textOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options = chosen[FinetuneOptions]
    chosen.start_log()

    from uer.tasks.finetune import Finetuning
    from uer.tasks.setup import start_config, start_weights
    from uer.tasks.text2text import Text2textTask

    set_seed(chosen[TrainOptions].seed)
    task = Text2textTask(chosen_tokenizer(chosen), **text2text_options(chosen))

    config = start_config(chosen[ModelConfig], options, target=("lm",))
    model = task.model(config)
    start_weights(model, options, head=())

    finetuning = Finetuning(task, model, config, **training_options(chosen))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    finetuning.fit(train, dev)
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
