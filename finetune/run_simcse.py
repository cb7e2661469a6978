"""Fine-tune vectors of texts by contrast (SimCSE); see docs/tasks/simcse.md."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.finetune import SimcseOptions, SimcseRunOptions
from uer.opts.finetune import finetune_command, length_options, prepared
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = finetune_command(
    "run_simcse",
    "Fine-tune vectors of texts. The training file has the column text_a alone (each text is compared with "
    "itself under other dropout), or label, text_a and text_b (pairs of like meaning).",
    SimcseOptions,
    files=SimcseRunOptions,
)


def main(argv: list[str] | None = None) -> int:
    """Options, log, seed → tokenizer → task → model → load → read → fit → reload the best → test."""
    chosen = COMMAND.start(argv)

    from uer.tasks.simcse import SimcseModel, SimcseTask

    task = SimcseTask(chosen_tokenizer(chosen), **length_options(chosen[SimcseRunOptions]))
    build = partial(SimcseModel.build, temperature=chosen[SimcseOptions].temperature)
    prepared(chosen, task, build, files=SimcseRunOptions).run()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
