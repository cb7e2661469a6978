"""Layers: imports go to the same layer or below, never in a circle, argparse on top."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {
    0: ("errors", "utils"),
    1: ("config", "tokenizers", "metrics"),
    2: ("layers", "data"),
    3: ("embeddings", "encoders", "decoders", "targets"),
    4: ("models", "checkpoints", "generation"),
    5: ("tasks", "training", "serving"),
    6: ("opts", "cli"),
}
LEVEL = {part: level for level, parts in LAYERS.items() for part in parts}


def module_files(root: Path) -> dict[str, Path]:
    """Dotted name → file, of every module of the package `uer` under `root`."""
    names = {}
    for file in sorted((root / "uer").rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes except those that only a type checker sees (`if TYPE_CHECKING:`)."""
    found, stack = [], [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack.extend(node.orelse)
            continue
        found.append(node)
        stack.extend(ast.iter_child_nodes(node))
    return found


def imported(file: Path, name: str, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, at the top or inside a function."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    targets = set()
    for node in runtime_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                targets.add(inner if inner in modules else base)
    return {target for target in targets if target in modules} - {name, "uer"}


def import_graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Module → modules it imports."""
    modules = module_files(root)
    return {name: imported(file, name, modules) for name, file in modules.items()}


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    """The modules of one import circle in order, or None."""
    done: set[str] = set()
    for start in graph:
        path, stack = [], [(start, iter(sorted(graph[start])))]
        path.append(start)
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                done.add(name)
                stack.pop()
                path.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following not in done:
                stack.append((following, iter(sorted(graph.get(following, ())))))
                path.append(following)
    return None


def level(module: str) -> int:
    """The layer of a module of the package."""
    return LEVEL[module.split(".")[1]]


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports of a higher layer, as text."""
    return [
        f"{name} (L{level(name)}) imports {target} (L{level(target)})"
        for name, targets in graph.items()
        if name != "uer"
        for target in sorted(targets)
        if level(target) > level(name)
    ]


def test_every_part_of_the_package_has_a_layer():
    parts = {name.split(".")[1] for name in module_files(ROOT) if name != "uer"}
    assert parts <= set(LEVEL), f"give {sorted(parts - set(LEVEL))} a layer in the design and here"


def test_imports_go_down():
    assert upward(import_graph()) == []


def test_imports_make_no_circle():
    assert circle(import_graph()) is None


def test_the_package_does_not_import_the_scripts():
    tops = {"preprocess", "pretrain", "finetune", "inference", "scripts", "tests", "benchmarks"}
    for name, file in module_files(ROOT).items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {n.split(".")[0] for n in names} & tops, f"{name} imports a script"


def test_argparse_is_used_on_the_top_layer_only():
    users = [
        name
        for name, file in module_files(ROOT).items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name == "argparse" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "argparse")
    ]
    assert all(level(name) == 6 for name in users), users


def test_no_star_imports():
    for name, file in module_files(ROOT).items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*"), name


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small package with an upward import and a circle, written in three ways."""
    files = {
        "uer/__init__.py": "",
        "uer/errors.py": "",
        "uer/layers/__init__.py": "",
        "uer/layers/a.py": "def f():\n    from uer.models import build\n",
        "uer/data/__init__.py": "from . import b\n",
        "uer/data/b.py": "from .c import x\n",
        "uer/data/c.py": "import uer.data.b\nx = 1\n",
        "uer/models/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import uer.cli\n",
        "uer/models/build.py": "import uer.errors\n",
        "uer/cli.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_check_itself_finds_faults(package: Path):
    graph = import_graph(package)
    assert upward(graph) == ["uer.layers.a (L2) imports uer.models.build (L4)"]
    assert circle(graph) in (
        ["uer.data.b", "uer.data.c", "uer.data.b"],
        ["uer.data.c", "uer.data.b", "uer.data.c"],
    )
