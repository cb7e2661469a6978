"""Perplexity and bits a character of a language model on a text, one document a line."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.generation import EvaluationOptions
from uer.config.model import ModelConfig
from uer.config.run import LogOptions
from uer.config.tokenizer import TokenizerOptions
from uer.errors import ConfigError


def main(argv: list[str] | None = None) -> None:
    """Load the model, score the text, print one line."""
    chosen = Command(
        "evaluate_lm.py",
        __doc__,
        EvaluationOptions,
        ModelConfig,
        TokenizerOptions,
        model="saved",
        model_flag="load_model_path",
    ).parse(argv)
    from uer.checkpoints import adapt_config, load_into
    from uer.generation.perplexity import evaluate
    from uer.generation.precision import ready
    from uer.generation.reading import check_length, language_model
    from uer.models.build import build_model
    from uer.models.empty import Unfilled
    from uer.opts.tokenizer import chosen_tokenizer

    chosen.start_log()
    options, flag = chosen[EvaluationOptions], "--load_model_path"
    tokenizer = chosen_tokenizer(chosen)
    described = chosen.companion is not None or "target" in chosen.written
    config = language_model(chosen[ModelConfig], described=described)
    if config.decoder is not None:
        raise ConfigError("the model has a --decoder; a text alone is scored by a model without one.")
    with Unfilled():
        model = build_model(adapt_config(config, options.load_model_path, flag), len(tokenizer))
    check_length(model, options.seq_length)
    load_into(model, options.load_model_path, flag=flag, verbose=chosen[LogOptions].verbose, adopt=True)
    score = evaluate(
        ready(model, options.precision),
        tokenizer,
        options.test_path,
        length=options.seq_length,
        stride=options.stride or max(1, options.seq_length // 2),
        batch_size=options.batch_size,
    )
    print(
        f"Perplexity: {score.perplexity:.4f}, bits per character: {score.bits_per_character:.4f}, "
        f"bits per byte: {score.bits_per_byte:.4f} ({score.tokens} tokens, {score.characters} characters, "
        f"{score.unknown} unknown tokens)."
    )


if __name__ == "__main__":
    sys.exit(run(main))
