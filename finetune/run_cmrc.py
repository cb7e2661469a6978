"""Fine-tune a model that finds answers in texts; see docs/tasks/extractive_qa.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.model import ModelConfig
from uer.config.tasks import QaOptions, QaRunOptions, QaScoreOptions
from uer.config.training import TrainOptions
from uer.opts.finetune import cut_tokenizer, finetune_command, training_options
from uer.opts.tasks import qa_options
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_cmrc",
    "Fine-tune a model that finds answers in texts; the files are JSON like CMRC 2018's and SQuAD's. A "
    "character is one token (--tokenizer char) unless another tokenizer is named.",
    QaOptions,
    QaScoreOptions,
    files=QaRunOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.parse(argv)
    options = chosen[QaRunOptions]
    chosen.start_log()

    from uer.tasks.extractive_qa import HEAD, QaModel, QaTask
    from uer.tasks.finetune import Finetuning
    from uer.tasks.setup import start_config, start_weights

    set_seed(chosen[TrainOptions].seed)
    tokenizer = cut_tokenizer(chosen, "char")
    task = QaTask(tokenizer, **qa_options(chosen))

    config = start_config(chosen[ModelConfig], options)
    model = QaModel.build(config, len(tokenizer))
    start_weights(model, options, head=HEAD)

    finetuning = Finetuning(task, model, config, **training_options(chosen, QaRunOptions))
    train, dev = task.read(options.train_path, training=True), task.read(options.dev_path)
    finetuning.fit(train, dev)
    if options.test_path:
        finetuning.test(task.read(options.test_path))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
