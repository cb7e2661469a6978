"""Scripts as modules: they lie in folders that are no packages."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from uer.utils.files import repository_root


def title(name: str) -> str:
    """The name under which a script stands in `sys.modules`."""
    return "script_" + name.removesuffix(".py").replace("/", "_")


def load_script(name: str) -> ModuleType:
    """`load_script("finetune/run_classifier.py").main(argv)`, loaded anew each time.

    In tests the fixture of this name is better: it takes the module out of `sys.modules` again.
    """
    spec = importlib.util.spec_from_file_location(title(name), repository_root() / name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[title(name)] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module
