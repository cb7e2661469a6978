"""Fit a model to another vocabulary: known tokens keep their rows, new ones start from their pieces."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.checkpoints import VocabAdapterOptions
from uer.errors import ConfigError
from uer.utils.logging import logger

if TYPE_CHECKING:
    from uer.checkpoints import Companion
    from uer.tokenizers.base import Tokenizer


def main(argv: list[str] | None = None) -> int:
    """Write the adapted model, with a companion when the old one has it."""
    chosen = Command(
        "scripts/dynamic_vocab_adapter.py", "Fit a model to another vocabulary.", VocabAdapterOptions
    ).start(argv)
    options = chosen[VocabAdapterOptions]

    from uer.checkpoints import read_companion, write_state
    from uer.checkpoints.source import read_whole
    from uer.checkpoints.vocabulary import adapt, plan, renumbered
    from uer.tokenizers.vocab import Vocab

    state = read_whole(options.old_model_path, "--old_model_path")
    companion = read_companion(options.old_model_path)
    old = old_tokenizer(options, companion)
    vocab = Vocab.load(options.new_vocab_path, "--new_vocab_path")
    changes = plan(old, vocab)
    adapted = adapt(state, changes, options.seed)
    settings = companion.settings() if companion else {}
    if companion:
        settings["tokenizer"] = type(old)(vocab, special=old.special, **old.settings())
        settings["extra"] = renumbered(companion.extra, old.vocab, vocab)
    write_state(options.new_model_path, adapted, **settings)
    logger.info("%s: %s", options.new_model_path, changes.line())
    return 0


def old_tokenizer(options: VocabAdapterOptions, companion: Companion | None) -> Tokenizer:
    """The tokenizer of the model to adapt: how its companion says, over the vocabulary that is named.

    Raises:
        ConfigError: no vocabulary is named or saved, or the saved tokenizer is no list of tokens.
    """
    from uer.tokenizers import build_tokenizer, load_tokenizer

    saved = load_tokenizer(companion.tokenizer) if companion and companion.tokenizer else None
    if saved is not None and saved.name == "folder":
        saved = saved.word_pieces() or saved
    if saved is not None and (saved.name == "folder" or saved.files().keys() != {"vocab_path"}):
        raise ConfigError(
            f"{options.old_model_path} has a '{saved.name}' tokenizer that is more than a list of tokens, "
            "which --new_vocab_path cannot replace; only models with a plain vocabulary file can be adapted."
        )
    if options.old_vocab_path is not None:
        kind, settings = (saved.name, saved.settings()) if saved else ("bert", {})
        return build_tokenizer(kind, vocab_path=options.old_vocab_path, **settings)
    if saved is None:
        raise ConfigError(
            f"{options.old_model_path} has no companion folder that brings its vocabulary; "
            "name it with --old_vocab_path."
        )
    return saved


if __name__ == "__main__":
    sys.exit(run(main))
