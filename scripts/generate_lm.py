"""Continue texts with a language model: every line of the input file is a prompt."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.generation import DecodingOptions, GenerationFiles
from uer.errors import ConfigError
from uer.opts.compat import DEEPSPEED_INFERENCE
from uer.opts.saved import saved_model_command
from uer.opts.tokenizer import chosen_tokenizer

COMMAND = saved_model_command(
    "generate_lm.py", __doc__, GenerationFiles, DecodingOptions, compat=DEEPSPEED_INFERENCE
)


def main(argv: list[str] | None = None) -> None:
    """Read the prompts, continue them, write the texts."""
    chosen = COMMAND.start(argv)
    files = chosen[GenerationFiles]

    from uer.generation.text import Writer, read_prompts
    from uer.opts.generation import chosen_language_model, filled_model, write_texts

    tokenizer = chosen_tokenizer(chosen)
    config = chosen_language_model(chosen)
    if config.decoder is not None:
        raise ConfigError(
            "the model has a --decoder; generate_seq2seq.py writes a text for each source with it."
        )
    separated = config.mask == "causal_with_prefix"
    prompts = read_prompts(files.test_path, tokenizer, length=files.seq_length, separated=separated)
    model = filled_model(chosen, config, files.load_model_path, len(tokenizer))
    writer = Writer(tokenizer, files.output_format)
    write_texts(chosen, model, tokenizer, prompts, writer, length=files.seq_length)


if __name__ == "__main__":
    sys.exit(run(main))
