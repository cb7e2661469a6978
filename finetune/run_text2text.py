"""Fine-tune a model that writes a text for a text; see docs/tasks/text2text.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.tasks import Text2textOptions
from uer.opts.finetune import finetune_command, prepared
from uer.opts.tasks import text2text_options
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "run_text2text",
    "Fine-tune an encoder-decoder that writes a text for a text; the files are tables with the columns label "
    "(the wanted text), text_a, text_b, prefix.",
    Text2textOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)

    from uer.tasks.text2text import Text2textTask

    task = Text2textTask(chosen_tokenizer(chosen), **text2text_options(chosen))
    prepared(chosen, task, lambda config, _: task.model(config), target=("lm",)).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
