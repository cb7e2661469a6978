"""Flags of UER that old command lines carry and that change nothing; each says so when typed."""

from __future__ import annotations

import argparse

# name: (type, reason)
COMPATIBILITY: dict[str, tuple[type, str]] = {
    "instances_buffer_size": (int, "the whole dataset is shuffled, whatever its size; no buffer is needed"),
    "docs_buffer_size": (int, "documents are read by byte ranges in constant memory; no buffer is needed"),
    "fp16_opt_level": (str, "levels are those of a library no longer in use; O0 means fp32, the others fp16"),
    "local_rank": (int, "the rank comes from the launcher's environment"),
    "share_relative_position_embedding": (bool, "all layers of a stack share one position bias anyway"),
    "ignore_index": (bool, "padding is never predicted, with label smoothing or without"),
    "deepspeed": (bool, "the weights are ordinary ones, whatever engine trained them; none is needed here"),
    "deepspeed_config": (str, "the weights are ordinary ones, whatever engine trained them"),
    "deepspeed_checkpoint_layers_num": (int, "each layer is recomputed by itself"),
    "enable_zero3": (bool, "the stage of ZeRO is the one in --deepspeed_config"),
    "global_rank": (int, "the rank comes from the launcher's environment"),
    "json_format_corpus": (bool, "a corpus is read as JSON lines when its name ends in .jsonl or .json"),
    "mp_size": (int, "the weights are used whole, on one device"),
}
# What launchers and TencentPretrain add to the flags for DeepSpeed, wherever a model is trained.
DEEPSPEED_TRAINING = ("local_rank", "global_rank", "enable_zero3", "deepspeed_checkpoint_layers_num")
# What the inference twins for DeepSpeed of UER-py 2021 took; in training two of them are flags that count.
DEEPSPEED_INFERENCE = ("deepspeed", "deepspeed_config", "local_rank", "mp_size")


def add_compatibility_flags(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """Add the named compatibility flags, hidden from `--help`."""
    for name in names:
        kind, _ = COMPATIBILITY[name]
        settings = {"action": "store_true"} if kind is bool else {"type": kind}
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=argparse.SUPPRESS, **settings)


def compatibility_notes(written: dict[str, object], before: str = "--") -> list[str]:
    """One line for each compatibility flag among the typed ones, or key among those of a JSON config."""
    return [
        f"{before}{name} is accepted for old command lines and has no effect: {COMPATIBILITY[name][1]}."
        for name in written
        if name in COMPATIBILITY
    ]
