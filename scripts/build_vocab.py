"""Make a vocabulary from a corpus: characters, words, or pieces learnt from it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.build_vocab import COUNTED, BuildVocabOptions
from uer.errors import DataError
from uer.utils.files import atomic_write
from uer.utils.logging import logger

PIECES = 30_000  # entries where pieces are learnt and no number is given


def main(argv: list[str] | None = None) -> int:
    """Count or learn, and write the vocabulary."""
    chosen = Command("scripts/build_vocab.py", "Make a vocabulary from a corpus.", BuildVocabOptions).parse(
        argv
    )
    chosen.start_log()
    options = chosen[BuildVocabOptions]
    if options.kind == "sentencepiece":
        flags = write_sentencepiece(options)
    elif options.kind == "bpe":
        flags = write_bpe(options)
    else:
        flags = write_tokens(options, entries(options))
    logger.info("Use it with %s", flags)
    return 0


def entries(options: BuildVocabOptions) -> list[str]:
    """The entries of a vocabulary of characters, words or WordPieces."""
    from uer.tokenizers.train import RESERVED, counted, train_wordpiece

    if options.kind in COUNTED:
        from uer.data.counting import count_tokens

        counts = count_tokens(options.corpus_path, options.kind, options.workers_num)
        unfit = [token for token in counts if token.split() != [token]]
        for token in unfit:
            del counts[token]
        if unfit:
            logger.info("%d tokens hold white space, which no entry can; they are left out.", len(unfit))
        tokens = counted(counts, options.min_count, options.vocab_size)
    else:
        tokens = train_wordpiece(
            lambda: lines(options),
            vocab_size=options.vocab_size or PIECES,
            min_count=options.min_count,
            do_lower_case=options.do_lower_case,
        )
    if len(tokens) <= len(RESERVED):
        raise DataError(
            f"gave no entry beside the {len(RESERVED)} reserved ones; see --min_count ({options.min_count}) "
            f"and --vocab_size ({options.vocab_size or 'all'}).",
            path=options.corpus_path,
        )
    return tokens


def lines(options: BuildVocabOptions) -> Iterator[str]:
    """The lines of the corpus that hold something.

    Raises:
        DataError: missing, empty, or not UTF-8.
    """
    from uer.data.readers import read_lines
    from uer.data.sources import Source

    Source.of(options.corpus_path)
    return (text for _, text in read_lines(options.corpus_path) if text.strip())


def write_tokens(options: BuildVocabOptions, tokens: list[str]) -> str:
    """Write one token a line; returns the flags that use the file."""
    from uer.tokenizers.vocab import Vocab

    Vocab(tokens).save(options.output_path)
    logger.info("%s: %d entries", options.output_path, len(tokens))
    if options.vocab_size is not None and len(tokens) > options.vocab_size:
        logger.warning(
            "That is more than --vocab_size %d: reserved entries and single letters are there in any case.",
            options.vocab_size,
        )
    name = "bert" if options.kind == "wordpiece" else options.kind
    case = "" if options.do_lower_case else " --do_lower_case false"
    return f"--tokenizer {name} --vocab_path {options.output_path}{case}"


def write_bpe(options: BuildVocabOptions) -> str:
    """Learn and write vocabulary and merges; returns the flags that use them."""
    from uer.tokenizers.train import train_bpe

    tokens, merges = train_bpe(
        lines(options), vocab_size=options.vocab_size or PIECES, min_count=options.min_count
    )
    merges_path = options.merges_path or Path(options.output_path).with_name("merges.txt")
    with atomic_write(merges_path) as file:
        file.write("#version: 0.2\n")
        file.writelines(f"{left} {right}\n" for left, right in merges)
    return f"{write_tokens(options, tokens)} --merges_path {merges_path}"


def write_sentencepiece(options: BuildVocabOptions) -> str:
    """Learn and write a model; returns the flags that use it."""
    from uer.tokenizers.train import train_sentencepiece

    content = train_sentencepiece(
        lines(options), vocab_size=options.vocab_size or PIECES, threads=options.workers_num
    )
    with atomic_write(options.output_path, "wb") as file:
        file.write(content)
    return f"--spm_model_path {options.output_path}"


if __name__ == "__main__":
    sys.exit(run(main))
