"""Show what is inside a dataset: options, counts, three instances with their masks, lengths, padding."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.inspect_data import InspectDatasetOptions
from uer.config.tokenizer import TargetTokenizerOptions, TokenizerOptions

COMMAND = Command(
    "scripts/inspect_dataset.py",
    "Show what is inside datasets of preprocess.py; with tokenizer flags tokens are shown, else ids.",
    InspectDatasetOptions,
    TokenizerOptions,
    TargetTokenizerOptions,
    words=("DATASET", "+", "a dataset that preprocess.py wrote"),
)


def main(argv: list[str] | None = None) -> None:
    """Print a description of each dataset that is named."""
    chosen = COMMAND.start(argv)

    from uer.data.inspection import inspect_dataset
    from uer.data.store import Store
    from uer.opts.tokenizer import chosen_target_tokenizer, chosen_tokenizer

    options = chosen[TokenizerOptions]
    tokenizer = target = None
    if options.vocab_path or options.spm_model_path:
        tokenizer = chosen_tokenizer(chosen)
        target = chosen_target_tokenizer(chosen, tokenizer)
    for number, path in enumerate(chosen.words):
        lines = inspect_dataset(Store(path), chosen[InspectDatasetOptions], tokenizer, target)
        print("\n" * bool(number) + "\n".join(lines))


if __name__ == "__main__":
    sys.exit(run(main))
