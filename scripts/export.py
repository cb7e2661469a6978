"""Write a model for other programs: a folder that Hugging Face's AutoModel and AutoTokenizer load."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.checkpoints import ExportOptions
from uer.config.model import ModelConfig
from uer.config.tokenizer import TokenizerOptions
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger

COMMAND = Command(
    "scripts/export.py",
    "Export a model. The saved model says by itself what it is; a file of UER-py needs --config_path and "
    "its vocabulary.",
    ExportOptions,
    ModelConfig,
    TokenizerOptions,
    model="saved",
    model_flag="load_model_path",
)


def main(argv: list[str] | None = None) -> int:
    """Options → state → family and head → folder."""
    chosen = COMMAND.parse(argv)
    options, config = chosen[ExportOptions], chosen[ModelConfig]
    chosen.start_log()

    from uer.checkpoints import adapt_config
    from uer.checkpoints.export import choose_family, choose_part, export_folder, norm_difference
    from uer.checkpoints.source import read_source

    config = adapt_config(config, options.load_model_path, "--load_model_path")
    state = read_source(options.load_model_path, flag="--load_model_path").state
    companion, files = chosen.companion, chosen[TokenizerOptions]
    extra = companion.extra if companion else {}
    family = choose_family(config, extra, options.family)
    head = None if options.head is None else options.head.replace("none", "").replace("+", " ")
    part = choose_part(state, family, head)
    tokenizer = None
    if (companion and companion.tokenizer) or files.vocab_path or files.spm_model_path:
        tokenizer = chosen_tokenizer(chosen)
    labels = companion.labels if companion else None
    export_folder(
        options.output_path, state, config, family, part, labels=labels, extra=extra, tokenizer=tokenizer
    )
    logger.info("Wrote %s: %s.", options.output_path, family.classes[part])
    if tokenizer is None:
        logger.info("No tokenizer was exported; name its files by --vocab_path or --spm_model_path.")
    if config.layernorm == "uer":
        logger.warning(
            "UER-py's layer norm has no counterpart there: hidden states of the export differ by up to %.1e.",
            norm_difference(state, config),
        )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
