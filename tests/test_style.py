"""What is held of all code: short files and functions, words and types for what is public, no error lost."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ("uer", "scripts", "finetune", "inference", "benchmarks")
MOST_LINES, LONGEST_FUNCTION = 400, 60
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def files(*folders: str) -> list[Path]:
    """The Python files below these folders, and those beside them; without names: the tests' too."""
    below = [file for folder in folders or (*PROGRAM, "tests") for file in (ROOT / folder).rglob("*.py")]
    return sorted([*ROOT.glob("*.py"), *below] if not folders else below)


@cache
def parsed(file: Path) -> ast.Module:
    """A file as a tree."""
    return ast.parse(file.read_text(encoding="utf-8"))


def place(file: Path, node: ast.AST, name: str = "") -> str:
    """Where something stands."""
    return f"{file.relative_to(ROOT)}:{node.lineno} {name}".rstrip()


def public(tree: ast.Module | ast.ClassDef, above: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Classes, functions and methods whose names do not begin with an underscore, those of classes below."""
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield above + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{above}{node.name}.")


def untyped(function: ast.FunctionDef) -> list[str]:
    """Parameters without a type."""
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    named = [arg for arg in every if arg is not None and arg.arg not in ("self", "cls")]
    return [arg.arg for arg in named if arg.annotation is None]


def silent(handler: ast.ExceptHandler) -> bool:
    """Whether an `except` does nothing, or takes whatever comes and lets nobody know."""
    nothing = all(isinstance(node, (ast.Pass, ast.Constant)) for node in _values(handler.body))
    return nothing or handler.type is None


def _values(body: list[ast.stmt]) -> list[ast.AST]:
    """Statements, and the expressions of those that are nothing else."""
    return [node.value if isinstance(node, ast.Expr) else node for node in body]


def raises_not_implemented(node: ast.AST) -> bool:
    """`raise NotImplementedError`, called or not."""
    error = node.exc if isinstance(node, ast.Raise) else None
    error = error.func if isinstance(error, ast.Call) else error
    return isinstance(error, ast.Name) and error.id == "NotImplementedError"


def found(wanted, *folders: str) -> list[str]:
    """The places of all nodes of which `wanted(node)` holds."""
    return [place(file, node) for file in files(*folders) for node in ast.walk(parsed(file)) if wanted(node)]


def test_files_are_short():
    long = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files()}
    assert not {str(file.relative_to(ROOT)): n for file, n in long.items() if n > MOST_LINES}


def test_functions_are_short():
    sizes = {
        place(file, node, node.name): node.end_lineno - node.lineno + 1
        for file in files()
        for node in ast.walk(parsed(file))
        if isinstance(node, FUNCTIONS)
    }
    assert not {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION}


def test_what_is_public_says_what_it_is():
    names = [
        place(file, node, name)
        for file in files("uer")
        for name, node in public(parsed(file))
        if not ast.get_docstring(node)
    ]
    empty = {file for file in files("uer") if not file.read_text(encoding="utf-8").strip()}
    modules = [
        str(file) for file in files(*PROGRAM) if file not in empty and not ast.get_docstring(parsed(file))
    ]
    assert not names and not modules


def test_parameters_have_types():
    assert not [
        place(file, node, f"{node.name}({', '.join(untyped(node))})")
        for file in files(*PROGRAM)
        for node in ast.walk(parsed(file))
        if isinstance(node, FUNCTIONS) and untyped(node)
    ]


def test_no_error_is_dropped_silently():
    assert not found(lambda node: isinstance(node, ast.ExceptHandler) and silent(node))


def test_what_subclasses_must_give_is_abstract():
    assert not found(raises_not_implemented)


def test_no_name_comes_from_a_star():
    assert not found(lambda node: isinstance(node, ast.ImportFrom) and node.names[0].name == "*")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("try:\n    f()\nexcept ValueError:\n    pass", 1),
        ("try:\n    f()\nexcept ValueError:\n    ...", 1),
        ("try:\n    f()\nexcept:\n    log()", 1),
        ("try:\n    f()\nexcept ValueError:\n    log()", 0),
        ("raise NotImplementedError", 1),
        ("raise NotImplementedError('later')", 1),
        ("raise ValueError", 0),
    ],
)
def test_the_rules_see_what_they_are_about(text, faults):
    nodes = list(ast.walk(ast.parse(text)))
    handlers = [node for node in nodes if isinstance(node, ast.ExceptHandler) and silent(node)]
    assert len(handlers) + sum(map(raises_not_implemented, nodes)) == faults


def test_methods_of_public_classes_are_public_and_parameters_are_seen():
    tree = ast.parse(
        "class A:\n    def f(self, x, *, y: int, **z): ...\n    def _g(self): ...\nclass _B: ..."
    )
    assert [name for name, _ in public(tree)] == ["A", "A.f"]
    assert untyped(tree.body[0].body[0]) == ["x", "z"]
