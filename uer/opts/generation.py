"""What the scripts that write or score text with a saved language model share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from uer.cli import Chosen
from uer.config.generation import DecodingOptions, GenerationFiles
from uer.config.model import ModelConfig

if TYPE_CHECKING:
    from uer.generation.text import Prompt, Writer
    from uer.models.model import Model
    from uer.tokenizers.base import Tokenizer


def chosen_language_model(chosen: Chosen) -> ModelConfig:
    """The configuration of a language model, as companion, config or flags say.

    Raises:
        ConfigError: it is none.
    """
    from uer.generation.reading import language_model

    described = chosen.companion is not None or "target" in chosen.written
    return language_model(chosen[ModelConfig], described=described)


def filled_model(chosen: Chosen, config: ModelConfig, path: str, *vocab_sizes: int) -> Model:
    """The model with the weights of `--load_model_path`, all of them.

    Args:
        vocab_sizes: of the source, and of the target where it has another vocabulary.

    Raises:
        CheckpointError: the file does not fit.
    """
    from uer.checkpoints import adapt_config, load_into
    from uer.models.build import build_model
    from uer.models.empty import Unfilled

    flag = "--load_model_path"
    with Unfilled():
        model = build_model(adapt_config(config, path, flag), *vocab_sizes)
    load_into(model, path, flag=flag, adopt=True)
    return model


def write_texts(
    chosen: Chosen,
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    writer: Writer,
    *,
    length: int,
) -> None:
    """Continue the prompts as the flags say, and write all texts to `--prediction_path`.

    Args:
        tokenizer: of what is written.
        length: most tokens of a text.
    """
    from uer.generation.generate import Generator
    from uer.generation.precision import ready
    from uer.generation.text import read_allowed, stream
    from uer.tasks.output import text_writer

    files, decoding = chosen[GenerationFiles], chosen[DecodingOptions]
    generator = Generator(
        ready(model, files.precision, rows=min(len(prompts) * decoding.copies, files.batch_size)),
        tokenizer,
        decoding,
        length=length,
        batch_size=files.batch_size,
        allowed=decoding.allowed_tokens_path and read_allowed(decoding.allowed_tokens_path, tokenizer),
        log_probs=files.output_scores,
    )
    texts = (
        stream(generator, prompts, writer, sys.stdout)
        if files.stream
        else generator([prompt.ids for prompt in prompts])
    )
    with text_writer(files.prediction_path) as file:
        writer.write(file, prompts, texts)
