"""The space of a search: `learning_rate=loguniform(1e-5,1e-3)`, as typed, as checked ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from uer.errors import ConfigError, suggestion

ENTRY = re.compile(r"\s*(\w+)\s*=\s*(\w+)\s*\(\s*([^()]*?)\s*\)\s*")
KINDS = ("loguniform", "uniform", "int", "choice")


@dataclass(frozen=True)
class Range:
    """What one flag is drawn from.

    Attributes:
        name: of the flag. kind: one of `KINDS`.
        values: the choices; else the lowest and the highest value.
    """

    name: str
    kind: str
    values: tuple[Any, ...]

    @property
    def listed(self) -> tuple[Any, ...] | None:
        """All values, where they can be counted."""
        if self.kind == "choice":
            return self.values
        return tuple(range(self.values[0], self.values[1] + 1)) if self.kind == "int" else None


def parse_space(entries: Iterable[str], kinds: Mapping[str, type]) -> dict[str, Range]:
    """The ranges of `--search_space`.

    Args:
        kinds: the flags that may be searched, and the type of each.

    Raises:
        ConfigError: an entry of another form, an unknown flag or kind, bad values, a flag named twice.
    """
    space: dict[str, Range] = {}
    for entry in entries:
        parsed = _parse(entry, kinds)
        if parsed.name in space:
            raise ConfigError(f"--search_space names {parsed.name} twice; leave one of them out.")
        space[parsed.name] = parsed
    return space


def _parse(entry: str, kinds: Mapping[str, type]) -> Range:
    match = ENTRY.fullmatch(entry)
    if match is None:
        raise ConfigError(
            f"--search_space '{entry}' is not of the form FLAG=KIND(VALUES), as "
            "'learning_rate=loguniform(1e-5,1e-3)' or 'batch_size=choice(16,32)'."
        )
    name, kind, inside = match.groups()
    if name not in kinds:
        raise ConfigError(
            f"--search_space: '{name}' is no flag that can be searched.{suggestion(name, kinds)}"
        )
    if kind not in KINDS:
        raise ConfigError(
            f"--search_space {name}: '{kind}' is unknown; choose from {', '.join(KINDS)}."
            + suggestion(kind, KINDS)
        )
    texts = [text.strip() for text in inside.split(",")] if inside else []
    values = tuple(_value(name, text, kinds[name]) for text in texts)
    if kind == "choice":
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"--search_space {entry}: name one value or more, none of them twice.")
        return Range(name, kind, values)
    return _range(entry, name, kind, values, kinds[name])


def _range(entry: str, name: str, kind: str, values: tuple[Any, ...], wanted: type) -> Range:
    fits = wanted is int if kind == "int" else wanted is float
    if not fits:
        raise ConfigError(
            f"--search_space {entry}: --{name} is of type {wanted.__name__}; "
            f"use {'int(LOW,HIGH)' if wanted is int else 'choice(…)'}."
        )
    if len(values) != 2 or not values[0] < values[1]:
        raise ConfigError(f"--search_space {entry}: give the lowest and the highest value, LOW,HIGH.")
    if kind == "loguniform" and values[0] <= 0:
        raise ConfigError(f"--search_space {entry}: the lowest value must be above 0 on a logarithmic scale.")
    return Range(name, kind, values)


def _value(name: str, text: str, kind: type) -> Any:
    """A value as the type of its flag."""
    fault = ConfigError(f"--search_space {name}: '{text}' is no value of type {kind.__name__}.")
    if kind is bool:
        if text not in ("true", "false"):
            raise fault
        return text == "true"
    try:
        value = kind(text)
    except ValueError as error:
        raise fault from error
    if kind is float and not math.isfinite(value):
        raise fault
    return value
