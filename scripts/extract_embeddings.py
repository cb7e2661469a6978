"""Write the word vectors of a model in word2vec's text format."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.tools import EmbeddingOptions
from uer.utils.logging import logger


def main(argv: list[str] | None = None) -> int:
    """Options → tokenizer → table → file."""
    chosen = Command("scripts/extract_embeddings.py", __doc__, EmbeddingOptions).start(argv)
    options = chosen[EmbeddingOptions]

    from uer.checkpoints.words import model_tokenizer, word2vec_lines, word_table
    from uer.utils.files import atomic_write

    tokenizer = model_tokenizer(options.load_model_path, options.vocab_path, options.spm_model_path)
    table = word_table(options.load_model_path, len(tokenizer))
    with atomic_write(options.word_embedding_path) as file:
        file.writelines(word2vec_lines(tokenizer.vocab.tokens, table))
    logger.info("Wrote %d vectors of %d numbers to %s.", *table.shape, options.word_embedding_path)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
