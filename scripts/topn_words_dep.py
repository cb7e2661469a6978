"""Print the words that come nearest to a word in its sentence, each put into its place."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.model import ModelConfig
from uer.config.tools import WordInContextOptions
from uer.opts.saved import saved_model_command
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = saved_model_command("scripts/topn_words_dep.py", __doc__, WordInContextOptions)


def main(argv: list[str] | None = None) -> int:
    """Options → tokenizer → model → sentences → the nearest candidates of each."""
    chosen = COMMAND.start(argv)
    options = chosen[WordInContextOptions]

    from uer.tasks.replacement import read_candidates, read_targets, replacements
    from uer.tasks.saved import open_encoder

    tokenizer = chosen_tokenizer(chosen)
    candidates = read_candidates(options.cand_vocab_path, tokenizer)
    model = open_encoder(chosen[ModelConfig], options.load_model_path, len(tokenizer))
    for word, sentence, placed in read_targets(options.test_path, tokenizer, options.seq_length):
        print(f"Original sentence: {sentence}")
        print(f"Target word: {word}")
        found = replacements(
            model,
            placed,
            candidates,
            pad_id=tokenizer.pad_id,
            length=options.seq_length,
            batch_size=options.batch_size,
            count=options.topn,
        )
        for name, cosine in found:
            print(f"{name}\t{cosine}")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
