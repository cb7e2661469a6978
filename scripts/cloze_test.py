"""Fill blanks: each [MASK] of a line, or in a line without one a token that is masked at random."""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.model import ModelConfig
from uer.config.tools import ClozeOptions
from uer.errors import DataError
from uer.opts.saved import saved_model_command
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = saved_model_command("scripts/cloze_test.py", __doc__, ClozeOptions)


def main(argv: list[str] | None = None) -> int:
    """Options → tokenizer → model → lines → answers."""
    chosen = COMMAND.start(argv)
    options = chosen[ClozeOptions]

    from uer.data.readers import read_lines
    from uer.tasks.cloze import MASK, blank_one, fill, masked_language_model, with_blanks
    from uer.tasks.output import text_writer
    from uer.tasks.saved import open_model
    from uer.tasks.table import chunks

    tokenizer = chosen_tokenizer(chosen)
    described = chosen.companion is not None or "target" in chosen.written
    config = masked_language_model(chosen[ModelConfig], described=described)
    model = open_model(config, options.load_model_path, len(tokenizer))
    draw, length, written = random.Random(options.seed), options.seq_length, 0
    with text_writer(options.prediction_path) as file:
        for lines in chunks((line for _, line in read_lines(options.test_path) if line.strip()), 1024):
            texts = [
                with_blanks(tokenizer, line, length)
                if MASK in line
                else blank_one(tokenizer, line, length, draw)
                for line in lines
            ]
            kept = [(line, text) for line, text in zip(lines, texts) if text is not None]
            answers = fill(
                model,
                tokenizer,
                [text for _, text in kept],
                topn=options.topn,
                batch_size=options.batch_size,
            )
            for (line, text), blanks in zip(kept, answers):
                file.write(f"{line}\n")
                for answer in blanks:
                    words = (f"{token}:{p:.6f}" if options.output_prob else token for token, p in answer)
                    file.write(f"Predicted answer: {' '.join(words)}\n")
                if text.answer is not None:
                    file.write(f"Correct answer: {tokenizer.vocab.tokens[text.answer]}\n")
                file.write("\n")
                written += 1
        if not written:
            raise DataError("holds no text; write one a line.", path=options.test_path)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
