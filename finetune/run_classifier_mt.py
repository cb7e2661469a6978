"""Fine-tune one classifier on several data sets; see docs/tasks/multi_task.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import MultiTaskOptions, SingleTextOptions
from uer.opts.finetune import finetune_command, prepared, text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "run_classifier_mt",
    "Fine-tune one classifier on several data sets, each a folder with train.tsv and dev.tsv.",
    SingleTextOptions,
    files=MultiTaskOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → tasks → model → load → read → fit."""
    chosen = COMMAND.start(argv)

    from uer.tasks.classifier import ClassifierTask, read_labels
    from uer.tasks.multi_task import HEAD, MultiFinetuning, MultiTask, MultiTaskModel

    tokenizer = chosen_tokenizer(chosen)
    options = chosen[MultiTaskOptions]
    folders = [Path(folder) for folder in options.dataset_path_list]
    settings = {**text_options(chosen, MultiTaskOptions), "area": options.area}
    tasks = [ClassifierTask(tokenizer, read_labels(folder / "train.tsv"), **settings) for folder in folders]
    task = MultiTask(tasks)
    build = partial(MultiTaskModel.build, sizes=task.sizes)
    finetuning = prepared(chosen, task, build, head=HEAD, files=MultiTaskOptions, kind=MultiFinetuning)
    train = [part.read(folder / "train.tsv", training=True) for part, folder in zip(tasks, folders)]
    finetuning.fit(train, [part.read(folder / "dev.tsv") for part, folder in zip(tasks, folders)])
    finetuning.close()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
