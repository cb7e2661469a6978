"""Command-line flags generated from option dataclasses."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from uer.config.options import Options, field_types
from uer.errors import ConfigError, suggestion
from uer.opts.foreign import SAME_FLAGS, instead_of_flag


class FlagParser(argparse.ArgumentParser):
    """An argparse parser whose complaints are `ConfigError`s, and that suggests what was meant."""

    def error(self, message: str) -> Any:
        """Turn argparse's complaint into a `ConfigError`."""
        parted = " (several values are parted by blanks)" if re.search(r"value: '.*,", message) else ""
        raise ConfigError(f"{message}{parted}; --help lists what {self.prog} takes.")

    def written(self, argv: list[str] | None) -> dict[str, Any]:
        """Flag name → value of the flags that were typed, whatever the spelling (`--a=1`, abbreviations).

        Raises:
            ConfigError: an unknown flag (with a suggestion), a missing or malformed value.
        """
        values, unknown = self.parse_known_args(argv)
        if unknown:
            flags = [word.split("=")[0] for word in unknown]
            flags = [flags[0], *(flag for flag in flags[1:] if flag.startswith("--"))]
            what = "unexpected word" if not flags[0].startswith("-") else "unknown flag"
            advice = self._advice(dict.fromkeys(flags))
            raise ConfigError(f"{what} {advice} --help lists what {self.prog} takes.")
        return vars(values)

    def _advice(self, flags: Iterable[str]) -> str:
        """Unknown flags, and what to type instead of them; those of one advice together."""
        known = [name for action in self._actions for name in action.option_strings]
        told: dict[str, list[str]] = {}
        for flag in flags:
            instead = instead_of_flag(flag, known)
            text = f".{suggestion(flag, known)}" if instead is None else f": {instead}."
            told.setdefault(text, []).append(f"'{flag}'")
        return " Unknown too: ".join(f"{', '.join(names)}{text}" for text, names in told.items())


def _true_or_false(text: str) -> bool:
    """`true` or `false`, as UER spells it."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")


def _or_word(kind: Any, word: str | None) -> Any:
    """The type of a flag for which a word may be typed instead."""
    if word is None:
        return kind

    def read(text: str) -> Any:
        """The word itself, or a value of the type."""
        return text if text == word else kind(text)

    read.__name__ = kind.__name__  # argparse names it in its complaint
    return read


def _help(field: dataclasses.Field, many: bool) -> str:
    """Help text with the choices and the default behind it."""
    text = field.metadata["help"]
    if field.metadata["choices"]:
        text += f" ({', '.join(str(choice) for choice in field.metadata['choices'])})"
    if field.metadata["required"]:
        return f"{text}; required".replace("%", "%%")
    if field.default not in (None, False):
        default = " ".join(map(str, field.default)) if many else field.default
        text += f"; default {default}"
    return text.replace("%", "%%")


def add_flags(parser: argparse.ArgumentParser, group: type[Options]) -> None:
    """Add one flag a field of `group`, except JSON-only ones; untyped flags leave no trace in the result."""
    section = parser.add_argument_group((group.__doc__ or group.__name__).strip().splitlines()[0].rstrip("."))
    kinds = field_types(group)
    for field in dataclasses.fields(group):
        if field.metadata["json_only"]:
            continue
        kind, many = kinds[field.name]
        settings: dict[str, Any] = {
            "default": argparse.SUPPRESS,
            "help": _help(field, many),
            "dest": field.name,
        }
        if kind is bool and field.default is False:
            settings["action"] = "store_true"
        else:
            settings["type"] = _true_or_false if kind is bool else _or_word(kind, field.metadata["word"])
            settings["metavar"] = field.metadata["metavar"] or (
                "true|false" if kind is bool else kind.__name__.upper()
            )
            if many:
                settings["nargs"] = "+"
            elif field.metadata["bare"] is not None:
                settings.update(nargs="?", const=field.metadata["bare"])
        section.add_argument(f"--{field.name}", **settings)
        for name, value in SAME_FLAGS.get(field.name, {}).items():
            as_typed = {"type": kind} if value is None else {"action": "store_const", "const": value}
            hidden = {"dest": field.name, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            section.add_argument(f"--{name}", **as_typed, **hidden)
