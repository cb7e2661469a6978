"""Fine-tune one classifier on several data sets; see docs/tasks/multi_task.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import MultiTaskOptions, SingleTextOptions
from uer.config.model import ModelConfig
from uer.config.training import TrainOptions
from uer.opts.finetune import finetune_command, text_options, training_options
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.seed import set_seed

COMMAND = finetune_command(
    "run_classifier_mt",
    "Fine-tune one classifier on several data sets, each a folder with train.tsv and dev.tsv.",
    SingleTextOptions,
    files=MultiTaskOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options → seed, log → tokenizer → tasks → model → load → read → fit."""
    chosen = COMMAND.parse(argv)
    options = chosen[MultiTaskOptions]
    chosen.start_log()

    from uer.tasks.classifier import ClassifierTask, read_labels
    from uer.tasks.multi_task import HEAD, MultiFinetuning, MultiTask, MultiTaskModel
    from uer.tasks.setup import start_config, start_weights

    set_seed(chosen[TrainOptions].seed)
    tokenizer = chosen_tokenizer(chosen)
    folders = [Path(folder) for folder in options.dataset_path_list]
    settings = text_options(chosen, MultiTaskOptions)
    task = MultiTask(
        [ClassifierTask(tokenizer, read_labels(folder / "train.tsv"), **settings) for folder in folders]
    )

    config = start_config(chosen[ModelConfig], options)
    model = MultiTaskModel.build(config, len(tokenizer), task.sizes)
    start_weights(model, options, head=HEAD)

    finetuning = MultiFinetuning(task, model, config, **training_options(chosen, MultiTaskOptions))
    parts = list(zip(task.tasks, folders))
    train = [part.read(folder / "train.tsv", training=True) for part, folder in parts]
    finetuning.fit(train, [part.read(folder / "dev.tsv") for part, folder in parts])
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
