"""The command of scripts that read a saved model, which says by itself what it is."""

from __future__ import annotations

from uer.cli import Command
from uer.config.model import ModelConfig
from uer.config.options import Options
from uer.config.tokenizer import TokenizerOptions


def saved_model_command(
    prog: str,
    description: str,
    *groups: type[Options],
    command: type[Command] = Command,
    compat: tuple[str, ...] = (),
    free: tuple[str, ...] = (),
) -> Command:
    """A command with `--load_model_path`, and the flags of model and tokenizer for a file without companion.

    Args:
        groups: the options that only this script has; one of them holds `load_model_path`.
        command: the class of the command.
        compat, free: see `Command`.
    """
    return command(
        prog,
        description,
        *groups,
        ModelConfig,
        TokenizerOptions,
        compat=compat,
        model="saved",
        model_flag="load_model_path",
        free=free,
    )
