"""Fine-tune a model that finds answers in texts; see docs/tasks/extractive_qa.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.tasks import QaOptions, QaRunOptions, QaScoreOptions
from uer.opts.finetune import cut_tokenizer, finetune_command, prepared
from uer.opts.tasks import qa_options

COMMAND = finetune_command(
    "run_cmrc",
    "Fine-tune a model that finds answers in texts; the files are JSON like CMRC 2018's and SQuAD's. A "
    "character is one token (--tokenizer char) unless another tokenizer is named.",
    QaOptions,
    QaScoreOptions,
    files=QaRunOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)

    from uer.tasks.extractive_qa import HEAD, QaModel, QaTask

    task = QaTask(cut_tokenizer(chosen, "char"), **qa_options(chosen))
    prepared(chosen, task, QaModel.build, head=HEAD, files=QaRunOptions).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
