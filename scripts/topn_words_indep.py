"""Print the words whose vectors are nearest to those of given words, whatever stands around them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.tools import NearestWordOptions
from uer.errors import DataError
from uer.utils.logging import logger


def main(argv: list[str] | None = None) -> int:
    """Options → tokenizer → table → words → their neighbours."""
    chosen = Command("scripts/topn_words_indep.py", __doc__, NearestWordOptions).start(argv)
    options = chosen[NearestWordOptions]

    from uer.checkpoints.words import model_tokenizer, nearest, word_table
    from uer.data.readers import read_lines

    tokenizer = model_tokenizer(options.load_model_path, options.vocab_path, options.spm_model_path)
    table = word_table(options.load_model_path, len(tokenizer))
    words, index = [], tokenizer.vocab.index
    for number, line in read_lines(options.test_path):
        word = line.strip()
        if word in index:
            words.append(word)
        elif word:
            logger.warning("%s:%d: the vocabulary has no token '%s'.", options.test_path, number, word)
    if not words:
        raise DataError("names no token of the vocabulary; write one a line.", path=options.test_path)
    # One more than wanted: the nearest word to a word is itself.
    cosines, places = nearest(table[[index[word] for word in words]], table, options.topn + 1)
    for word, values, rows in zip(words, cosines.tolist(), places.tolist()):
        print(f"Target word: {word}")
        found = [(row, value) for row, value in zip(rows, values) if row != index[word]]
        for row, value in found[: options.topn]:
            print(f"{tokenizer.vocab.tokens[row]}\t{value}")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
