"""Continue texts with a language model: every line of the input file is a prompt."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.generation import DecodingOptions, GenerationFiles
from uer.config.model import ModelConfig
from uer.config.run import LogOptions
from uer.config.tokenizer import TokenizerOptions
from uer.opts.compat import DEEPSPEED_INFERENCE


def main(argv: list[str] | None = None) -> None:
    """Read the prompts, continue them, write the texts."""
    chosen = Command(
        "generate_lm.py",
        __doc__,
        GenerationFiles,
        DecodingOptions,
        ModelConfig,
        TokenizerOptions,
        compat=DEEPSPEED_INFERENCE,
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
    from uer.opts.tokenizer import chosen_tokenizer
    from uer.utils.files import atomic_write

    chosen.start_log()
    files, decoding, flag = chosen[GenerationFiles], chosen[DecodingOptions], "--load_model_path"
    tokenizer = chosen_tokenizer(chosen)
    described = chosen.companion is not None or "target" in chosen.written
    config = language_model(chosen[ModelConfig], described=described)
    prompts = read_prompts(
        files.test_path, tokenizer, length=files.seq_length, separated=config.mask == "causal_with_prefix"
    )
    with Unfilled():
        model = build_model(adapt_config(config, files.load_model_path, flag), len(tokenizer))
    load_into(model, files.load_model_path, flag=flag, verbose=chosen[LogOptions].verbose, adopt=True)
    generator = Generator(
        ready(model, files.precision, rows=min(len(prompts) * decoding.copies, files.batch_size)),
        tokenizer,
        decoding,
        length=files.seq_length,
        batch_size=files.batch_size,
        allowed=decoding.allowed_tokens_path and read_allowed(decoding.allowed_tokens_path, tokenizer),
        log_probs=files.output_scores,
    )
    writer = Writer(tokenizer, files.output_format)
    texts = (
        stream(generator, prompts, writer, sys.stdout)
        if files.stream
        else generator([prompt.ids for prompt in prompts])
    )
    with atomic_write(files.prediction_path) as file:
        writer.write(file, prompts, texts)


if __name__ == "__main__":
    sys.exit(run(main))
