"""What happened to every tensor when a file met a model, in one line and in a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Shape = tuple[int, ...]


@dataclass
class LoadReport:
    """The outcome of one load.

    Attributes:
        source: the file or folder.
        names: whose names the file had ("UER-py 2021", "Hugging Face bert", …).
        loaded: tensors that came from the file, with their shape.
        new: tensors of the model that the file does not hold, freshly initialised.
        unused: tensors of the file that the model has no place for, and why that is right.
        mismatched: new tensors that the file holds in another shape (file, model).
        untied: groups of names that share one tensor in a fresh model and do not in this file.
        parameters: number of loaded numbers, tied ones counted once.
    """

    source: str
    names: str
    loaded: dict[str, Shape] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    untied: list[tuple[str, ...]] = field(default_factory=list)
    parameters: int = 0

    def line(self) -> str:
        """The one line that is always logged."""
        parts = [
            f"Loaded {len(self.loaded)} tensors ({count_words(self.parameters)} parameters) "
            f"from {self.source} ({self.names} names)"
        ]
        if self.new:
            other = f" ({len(self.mismatched)} of another size in the file)" if self.mismatched else ""
            parts.append(f"new: {summary(self.new)}{other}")
        if self.unused:
            parts.append(f"unused: {summary(self.unused)}")
        for group in self.untied:
            parts.append(f"untied, since the file holds different tensors: {', '.join(group)}")
        return "; ".join(parts) + "."

    def table(self) -> str:
        """One line a tensor: what became of it, its shape, its name, and why."""
        rows = [("loaded", str(list(shape)), name, "") for name, shape in self.loaded.items()]
        for name in self.new:
            shapes = self.mismatched.get(name)
            rows.append(("new", "", name, f"the file has {list(shapes[0])}" if shapes else "not in the file"))
        rows += [("unused", "", name, reason) for name, reason in self.unused.items()]
        width = max((len(row[1]) for row in rows), default=0)
        return "\n".join(f"{row[0]:<8}{row[1]:<{width + 2}}{row[2]}  {row[3]}".rstrip() for row in rows)


def count_words(count: int) -> str:
    """102.3M, 1.6B, 8.1k."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def summary(names: Iterable[str], most: int = 8) -> str:
    """Names shortened to their modules (`output_layer_1`), or to `target.*` where one part has three or
    more.
    """
    tops: dict[str, dict[str, None]] = {}
    for name in names:
        tops.setdefault(name.partition(".")[0], {})[name.rpartition(".")[0] or name] = None
    parts: list[str] = []
    for top, modules in tops.items():
        parts += [f"{top}.*"] if len(modules) > 2 else modules
    return listed(parts, most)


def listed(names: Iterable[str], most: int = 10) -> str:
    """Up to `most` names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
