"""Perplexity and bits a character of a language model on a text, one document a line."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.generation import EvaluationOptions
from uer.errors import ConfigError
from uer.opts.saved import saved_model_command
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = saved_model_command("evaluate_lm.py", __doc__, EvaluationOptions)


def main(argv: list[str] | None = None) -> None:
    """Load the model, score the text, print one line."""
    chosen = COMMAND.start(argv)
    options = chosen[EvaluationOptions]

    from uer.generation.perplexity import evaluate
    from uer.generation.precision import ready
    from uer.generation.reading import check_length
    from uer.opts.generation import chosen_language_model, filled_model

    tokenizer = chosen_tokenizer(chosen)
    config = chosen_language_model(chosen)
    if config.decoder is not None:
        raise ConfigError("the model has a --decoder; a text alone is scored by a model without one.")
    model = filled_model(chosen, config, options.load_model_path, len(tokenizer))
    check_length(model, options.seq_length)
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
