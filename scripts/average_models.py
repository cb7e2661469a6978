"""Average several checkpoints of one model: the mean, a weighted or running one, or a greedy soup."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.checkpoints import AverageOptions
from uer.utils.logging import logger


def main(argv: list[str] | None = None) -> int:
    """Write the mean of the files that --model_list_path names."""
    chosen = Command("scripts/average_models.py", "Average checkpoints of one model.", AverageOptions).parse(
        argv
    )
    chosen.start_log()
    options = chosen[AverageOptions]

    from uer.checkpoints import write_state
    from uer.checkpoints.average import average
    from uer.tokenizers import load_tokenizer

    paths, shares = options.model_list_path, options.shares
    if options.soup_path is not None:
        from uer.tasks.soup import greedy_soup

        paths, shares = greedy_soup(paths, options.soup_path), None
        if len(paths) == 1:
            logger.info("No other file helps; %s is copied.", paths[0])
            paths = (*paths, *paths)
    state, companion = average(paths, shares)
    settings = companion.settings() if companion else {}
    if settings.get("tokenizer"):  # of a Hugging Face folder the tokenizer alone, not all that lies there
        settings["tokenizer"] = load_tokenizer(settings["tokenizer"])
    write_state(options.output_model_path, state, **settings)
    logger.info(
        "Averaged %d files of %d tensors into %s.",
        len(set(paths)),
        len(state),
        options.output_model_path,
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
