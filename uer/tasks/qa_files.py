"""Questions about texts, in the format of SQuAD and CMRC 2018:
`{"data": [{"paragraphs": [{"context": …, "qas": [{"id": …, "question": …, "answers":
[{"text": …, "answer_start": …}]}]}]}]}`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from uer.data.documents import Node, read_document
from uer.errors import DataError
from uer.utils.logging import logger


@dataclass
class Query:
    """One question about a text.

    Attributes:
        id: as in the file. question, context: the texts. node: where the question stands.
        answers: all texts that are right; none where the question has no answer.
        span: characters of the context [start, stop) of the answer that is learned; None without one.
    """

    id: str | int
    question: str
    context: str
    node: Node
    answers: list[str] = field(default_factory=list)
    span: tuple[int, int] | None = None


def read_queries(path: str | Path, *, answered: bool) -> list[Query]:
    """All questions of a file.

    Args:
        answered: they have answers, which are found in their contexts; an empty list says that there is none.

    Raises:
        DataError: a fault of the document, two questions with one id, or answers that are not in the context.
    """
    return document_queries(read_document(path), answered=answered)


def document_queries(whole: Node, *, answered: bool) -> list[Query]:
    """All questions of one document; see `read_queries`."""
    found: list[Query] = []
    known: set[str | int] = set()
    moved, path = 0, whole.path
    for document in whole.get("data").items():
        for paragraph in document.get("paragraphs").items():
            context = paragraph.get("context").text()
            for node in paragraph.get("qas").items():
                query = _query(node, context)
                if query.id in known:
                    raise node.get("id").fault(f"the id {query.id!r} stands in the file twice.")
                known.add(query.id)
                if answered:
                    moved += _answer(query)
                found.append(query)
    if not found:
        raise DataError("there is no question in the file.", path=path)
    if moved:
        logger.warning(
            f"{path}: {moved} of {len(found)} questions have an answer that does not stand at its "
            "answer_start; the nearest place where it does is taken."
        )
    return found


def _query(node: Node, context: str) -> Query:
    identity = node.get("id")
    name = identity.of(int) if isinstance(identity.value, int) else identity.text()
    return Query(name, node.get("question").text(), context, node)


def _answer(query: Query) -> bool:
    """Read the answers of a question; whether the one that is learned stands elsewhere than it says."""
    impossible = query.node.find("is_impossible")
    if impossible is not None and impossible.of(bool):
        return False
    nodes = query.node.get("answers").items()
    moved = False
    for node in nodes:
        text, start = node.get("text").text(), node.get("answer_start").of(int)
        query.answers.append(text)
        if query.span is None and text.strip():
            place = _nearest(query.context, text, start)
            if place is not None:
                query.span, moved = (place, place + len(text)), place != start
    if nodes and query.span is None:
        shown = ", ".join(repr(text[:30]) for text in query.answers[:3])
        raise query.node.get("answers").fault(
            f"none of the answers ({shown}) is in the context; a file without answers can be predicted "
            "(inference/run_cmrc_infer.py), not scored."
        )
    return moved


def _nearest(context: str, text: str, start: int) -> int | None:
    """Where `text` stands in the context, as near to `start` as possible."""
    if start >= 0 and context.startswith(text, start):
        return start
    before, behind = context.rfind(text, 0, max(start, 0) + len(text)), context.find(text, max(start, 0))
    places = [place for place in (before, behind) if place >= 0]
    return min(places, key=lambda place: abs(place - start)) if places else None
