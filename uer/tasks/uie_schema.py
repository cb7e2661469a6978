"""What is to be extracted, as PaddleNLP's nested lists and objects; prompts are built from it stage by stage.

`["人物", "地点"]` looks for entities; `{"公司": ["总部", "创始人"]}` for entities and their relations;
`{"地震触发词": ["时间", "震级"]}` for an event and its parts; `"情感倾向[正向,负向]"` chooses an answer; and
`{"评价维度": ["观点词", "情感倾向[正向,负向]"]}` does all that for each aspect of an opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uer.data.documents import Node, read_document
from uer.tasks.uie_files import joined

Results = list[dict[str, Any]]
"""what one prompt found in one text: `text`, `probability`, and `start` and `end` where it stands there"""


@dataclass(frozen=True)
class Part:
    """One name of a schema, and what is asked of each of its answers."""

    name: str
    children: tuple[Part, ...] = field(default=())


def read_schema(path: str | Path) -> tuple[Part, ...]:
    """The schema of a JSON file.

    Raises:
        DataError: something else than names, lists and objects of them, nothing at all, or a name twice.
    """
    return parse(read_document(path))


def parse(node: Node) -> tuple[Part, ...]:
    """The parts of a schema: a name, a list of names and objects, or an object name → schema."""
    if isinstance(node.value, str):
        return (Part(_name(node.text(), node)),)
    if isinstance(node.value, dict):
        parts = tuple(Part(_name(name, node), parse(node.get(name))) for name in node.value)
    else:
        parts = tuple(part for entry in node.items(1) for part in parse(entry))
    names = [part.name for part in parts]
    if not names or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        raise node.fault("is empty." if twice is None else f"names '{twice}' twice.")
    return parts


def _name(name: str, node: Node) -> str:
    if not name.strip():
        raise node.fault("holds an empty name.")
    return name


Asker = Callable[[Sequence[tuple[str, str]]], Sequence[Results]]
"""(prompt, text) of many asks → what each found"""


def extract(
    schema: Sequence[Part], texts: Sequence[str], ask: Asker, *, lang: str
) -> list[dict[str, Results]]:
    """Name → results, of each text; what was asked of a result stands in its `relations`.

    All prompts of a stage (a depth of the schema) are asked at once, over all texts.
    """
    found: list[dict[str, Results]] = [{} for _ in texts]
    # part, prompt, number of the text, and what the results belong to
    stage: list[tuple[Part, str, int, dict[str, Any] | None]]
    stage = [(part, part.name, row, None) for row in range(len(texts)) for part in schema]
    while stage:
        asks = list(dict.fromkeys((prompt, texts[row]) for _, prompt, row, _ in stage))
        answers = dict(zip(asks, ask(asks)))
        following = []
        for part, prompt, row, parent in stage:
            results = [dict(result) for result in answers[prompt, texts[row]]]
            if not results:
                continue
            (found[row] if parent is None else parent.setdefault("relations", {}))[part.name] = results
            for result in results:
                prompts = [(child, joined(result["text"], child.name, lang)) for child in part.children]
                following += [(child, prompt, row, result) for child, prompt in prompts]
        stage = following
    return found
