"""`option`: a dataclass field that is also a flag and a JSON key; `Options`: the checked dataclass."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from uer.errors import ConfigError, suggestion

Self = TypeVar("Self", bound="Options")


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    choices: Iterable[Any] | None = None,
    check: Callable[[Any], bool] | None = None,
    expected: str = "",
    json_only: bool = False,
    required: bool = False,
    metavar: str | None = None,
    bare: Any = None,
    word: str | None = None,
) -> Any:
    """A dataclass field with what the command line and the checks need to know of it.

    Args:
        default: the value when neither JSON nor command line names it.
        help: one line for `--help`.
        choices: the values allowed (of each item, for a tuple).
        check: a further condition on a value that is not None; `expected` says it in words.
        json_only: no flag is made; the value comes from a JSON config (UER keeps the sizes there).
        required: the command line must give it.
        bare: the value of the flag typed alone; without it the flag needs a value.
        word: may be typed instead of a value; `uer.opts.dialects` says what it stands for.
    """
    metadata = {
        "help": help,
        "choices": None if choices is None else tuple(choices),
        "check": check,
        "expected": expected,
        "json_only": json_only,
        "required": required,
        "metavar": metavar,
        "bare": bare,
        "word": word,
    }
    if isinstance(default, list):
        default = tuple(default)
    return dataclasses.field(default=None if default is dataclasses.MISSING else default, metadata=metadata)


def positive(default: Any, help: str, **more: Any) -> Any:
    """An option whose value must be greater than 0."""
    return option(default, help, check=lambda value: value > 0, expected="a number greater than 0", **more)


def not_negative(default: Any, help: str, **more: Any) -> Any:
    """An option whose value must be 0 or more."""
    return option(default, help, check=lambda value: value >= 0, expected="a number of 0 or more", **more)


def fraction(default: Any, help: str, **more: Any) -> Any:
    """An option whose value must lie between 0 and 1, both included."""
    return option(default, help, check=lambda value: 0 <= value <= 1, expected="a number from 0 to 1", **more)


def item_type(annotation: Any) -> tuple[Any, bool]:
    """The plain type behind an annotation, and whether a tuple is meant: `tuple[int, ...]` → (int, True)."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0], True
    return annotation, False


@cache
def field_types(cls: type) -> dict[str, tuple[Any, bool]]:
    """`item_type` of each field of an options class."""
    hints = typing.get_type_hints(cls)
    return {field.name: item_type(hints[field.name]) for field in dataclasses.fields(cls)}


def _coerce(name: str, value: Any, kind: Any, many: bool) -> Any:
    """The value as the field's type, where nothing is lost by it; a JSON list becomes a tuple."""
    if value is None:
        return None
    if many:
        items = value if isinstance(value, (list, tuple)) else (value,)
        return tuple(_coerce(name, item, kind, False) for item in items)
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is dict and not isinstance(value, dict):
        raise ConfigError(f"{name} is {value!r}; it must be a JSON object of keys and values.")
    if kind in (int, float, str, bool) and (
        not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    ):
        raise ConfigError(
            f"{name} is {value!r} ({type(value).__name__}); it must be of type {kind.__name__}."
        )
    return value


@dataclasses.dataclass(frozen=True)
class Options:
    """Base of all option groups: types, choices and checks hold, or a `ConfigError` names the flag."""

    def __post_init__(self) -> None:
        kinds = field_types(type(self))
        for field in dataclasses.fields(self):
            name = field.name if field.metadata.get("json_only") else f"--{field.name}"
            value = _coerce(name, getattr(self, field.name), *kinds[field.name])
            object.__setattr__(self, field.name, value)
            self._check_field(name, value, field.metadata)
        self.check()

    @staticmethod
    def _check_field(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
        items = value if isinstance(value, tuple) else () if value is None else (value,)
        choices, check = metadata.get("choices"), metadata.get("check")
        for item in items:
            if choices is not None and item not in choices:
                listed = ", ".join(str(choice) for choice in choices)
                raise ConfigError(f"{name} is '{item}'; choose from {listed}.{suggestion(item, choices)}")
            if check is not None and not check(item):
                raise ConfigError(f"{name} is {item}; it must be {metadata['expected']}.")

    def check(self) -> None:
        """Combinations that make no sense raise `ConfigError` naming both flags; overridden by each group."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The field names."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def pick(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """An instance from those of `values` that are fields of this group."""
        return cls(**{name: values[name] for name in cls.names() if name in values})

    @classmethod
    def from_json(cls: type[Self], values: Mapping[str, Any], source: str) -> Self:
        """An instance from a mapping in which every key must be a field; `source` is named in the error."""
        for key in values:
            if key not in cls.names():
                raise ConfigError(f"{source}: the key '{key}' is unknown.{suggestion(key, cls.names())}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, tuples as lists, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def replace(self: Self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)
