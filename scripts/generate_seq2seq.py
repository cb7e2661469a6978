"""Generate texts with an encoder-decoder: every line of the input file is a source."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import run
from uer.config.generation import DecodingOptions, GenerationFiles, TargetLength
from uer.config.tokenizer import TargetTokenizerOptions
from uer.errors import ConfigError
from uer.opts.compat import DEEPSPEED_INFERENCE
from uer.opts.saved import saved_model_command
from uer.opts.tokenizer import chosen_target_tokenizer, chosen_tokenizer

COMMAND = saved_model_command(
    "generate_seq2seq.py",
    __doc__,
    GenerationFiles,
    TargetLength,
    DecodingOptions,
    TargetTokenizerOptions,
    compat=("share_relative_position_embedding", *DEEPSPEED_INFERENCE),
)


def main(argv: list[str] | None = None) -> None:
    """Read the sources, generate from each, write the texts."""
    chosen = COMMAND.start(argv)
    files, length = chosen[GenerationFiles], chosen[TargetLength].tgt_seq_length

    from uer.generation.text import Writer, read_prompts
    from uer.opts.generation import chosen_language_model, filled_model, write_texts

    source = chosen_tokenizer(chosen)
    target = chosen_target_tokenizer(chosen, source)
    config = chosen_language_model(chosen)
    if config.decoder is None:
        raise ConfigError("the model has no --decoder; generate_lm.py continues texts without one.")
    prompts = read_prompts(
        files.test_path, source, length=files.seq_length, separated=True, blanks=True, to_write=0
    )
    model = filled_model(chosen, config, files.load_model_path, len(source), len(target))
    writer = Writer(target, files.output_format, start=[target.frame.start])
    write_texts(chosen, model, target, prompts, writer, length=length)


if __name__ == "__main__":
    sys.exit(run(main))
