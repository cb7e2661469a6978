#!/usr/bin/env python3
"""Turn a corpus into the dataset that `pretrain.py` reads."""

from __future__ import annotations

import sys

from uer.cli import Command, run
from uer.config.preprocess import (
    TWO_TOKENIZERS,
    InstanceOptions,
    MaskingOptions,
    PreprocessOptions,
    check_combination,
    check_json_names,
)
from uer.config.tokenizer import TargetTokenizerOptions, TokenizerOptions
from uer.opts.tokenizer import chosen_target_tokenizer, chosen_tokenizer
from uer.utils.logging import logger

COMMAND = Command(
    "preprocess.py",
    "Turn a corpus into the dataset that pretrain.py reads.",
    PreprocessOptions,
    InstanceOptions,
    MaskingOptions,
    TokenizerOptions,
    TargetTokenizerOptions,
    compat=("docs_buffer_size", "json_format_corpus"),
)


def main(argv: list[str] | None = None) -> None:
    """Options → tokenizers → dataset → what to type next."""
    chosen = COMMAND.start(argv)
    files, options = chosen[PreprocessOptions], chosen[InstanceOptions]
    check_combination(files, options, set(TargetTokenizerOptions.names()) & chosen.written.keys())
    if "json_format_corpus" in chosen.written:
        check_json_names(files)

    from uer.data.build import build_dataset
    from uer.data.summary import next_command, summary

    tokenizer = target_tokenizer = chosen_tokenizer(chosen)
    if options.data_processor in TWO_TOKENIZERS:
        target_tokenizer = chosen_target_tokenizer(chosen, tokenizer)
    logger.info(f"Starting {files.processes_num} workers for building datasets ... ")
    built = build_dataset(files, options, chosen[MaskingOptions], tokenizer, target_tokenizer)
    for line in summary(built, files.dataset_path):
        logger.info(line)
    sides = [TokenizerOptions, *([TargetTokenizerOptions] if target_tokenizer is not tokenizer else ())]
    command = next_command(built.header, files.dataset_path, *(chosen[side] for side in sides))
    logger.info(f"Next: {command}")


if __name__ == "__main__":
    sys.exit(run(main))
