"""Names resolved when they are first used, so that `--help` and tables of names import nothing heavy."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from uer.errors import EnvironmentFault, pick


def load(target: str) -> Any:
    """The object that `'package.module:Name'` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def pick_class(name: str, table: dict[str, str], what: str) -> Any:
    """The class behind `name` in a table of `'package.module:Class'` strings, or a `ConfigError`."""
    return load(pick(name, table, what))


def optional(module: str, extra: str) -> ModuleType:
    """Import a package that only one feature needs.

    Raises:
        EnvironmentFault: it is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EnvironmentFault(
            f"the package '{module}' is needed here and is not installed; type: pip install 'uer[{extra}]'."
        ) from error
