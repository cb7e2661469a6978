"""Generate texts with an encoder-decoder: every line of the input file is a source."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.generation import DecodingOptions, GenerationFiles, TargetLength
from uer.config.model import ModelConfig
from uer.config.run import LogOptions
from uer.config.tokenizer import TargetTokenizerOptions, TokenizerOptions
from uer.errors import ConfigError
from uer.opts.compat import DEEPSPEED_INFERENCE


def main(argv: list[str] | None = None) -> None:
    """Read the sources, generate from each, write the texts."""
    chosen = Command(
        "generate_seq2seq.py",
        __doc__,
        GenerationFiles,
        TargetLength,
        DecodingOptions,
        ModelConfig,
        TokenizerOptions,
        TargetTokenizerOptions,
        compat=("share_relative_position_embedding", *DEEPSPEED_INFERENCE),
        model="saved",
        model_flag="load_model_path",
    ).parse(argv)
    from uer.checkpoints import adapt_config, load_into
    from uer.generation.generate import Generator
    from uer.generation.precision import ready
    from uer.generation.reading import language_model
    from uer.generation.text import Writer, read_allowed, read_prompts, stream
    from uer.models.build import build_model
    from uer.models.empty import Unfilled
    from uer.opts.tokenizer import chosen_target_tokenizer, chosen_tokenizer
    from uer.utils.files import atomic_write

    chosen.start_log()
    files, decoding, flag = chosen[GenerationFiles], chosen[DecodingOptions], "--load_model_path"
    source = chosen_tokenizer(chosen)
    target = chosen_target_tokenizer(chosen, source)
    described = chosen.companion is not None or "target" in chosen.written
    config = language_model(chosen[ModelConfig], described=described)
    if config.decoder is None:
        raise ConfigError("the model has no --decoder; generate_lm.py continues texts without one.")
    prompts = read_prompts(files.test_path, source, length=files.seq_length, separated=True, to_write=0)
    with Unfilled():
        model = build_model(adapt_config(config, files.load_model_path, flag), len(source), len(target))
    load_into(model, files.load_model_path, flag=flag, verbose=chosen[LogOptions].verbose, adopt=True)
    generator = Generator(
        ready(model, files.precision, rows=min(len(prompts) * decoding.copies, files.batch_size)),
        target,
        decoding,
        length=chosen[TargetLength].tgt_seq_length,
        batch_size=files.batch_size,
        allowed=decoding.allowed_tokens_path and read_allowed(decoding.allowed_tokens_path, target),
        log_probs=files.output_scores,
    )
    writer = Writer(target, files.output_format, start=[target.frame.start])
    texts = (
        stream(generator, prompts, writer, sys.stdout)
        if files.stream
        else generator([prompt.ids for prompt in prompts])
    )
    with atomic_write(files.prediction_path) as file:
        writer.write(file, prompts, texts)


if __name__ == "__main__":
    sys.exit(run(main))
