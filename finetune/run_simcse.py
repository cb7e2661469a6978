"""Fine-tune vectors of texts by contrast (SimCSE); see docs/tasks/simcse.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SimcseOptions, SimcseRunOptions
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, length_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_simcse",
    "Fine-tune vectors of texts. The training file has the column text_a alone (each text is compared with "
    "itself under other dropout), or label, text_a and text_b (pairs of like meaning).",
    SimcseOptions,
    files=SimcseRunOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options = chosen[SimcseRunOptions]
    chosen.start_log()

    from uer.tasks.finetune import Finetuning
    from uer.tasks.setup import start_config, start_weights
    from uer.tasks.simcse import SimcseModel, SimcseTask

    set_seed(chosen[TrainOptions].seed)
    tokenizer = chosen_tokenizer(chosen)
    task = SimcseTask(tokenizer, **length_options(options))

    config = start_config(chosen[ModelConfig], options)
    model = SimcseModel.build(config, len(tokenizer), temperature=chosen[SimcseOptions].temperature)
    start_weights(model, options, head=())

    finetuning = Finetuning(task, model, config, **training_options(chosen, SimcseRunOptions))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    finetuning.fit(train, dev)
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
