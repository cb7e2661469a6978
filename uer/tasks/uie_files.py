"""Texts and what is asked of them, a JSON object a line.

A row is PaddleNLP's, `{"content": …, "prompt": …, "result_list": [{"text": …, "start": …, "end": …}]}`, or an
export of doccano's, `{"text": …, "label": [[start, end, TYPE], …]}` or `{"text": …, "entities": [{"id": …,
"start_offset": …, "end_offset": …, "label": …}], "relations": [{"from_id": …, "to_id": …, "type": …}]}`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uer.data.documents import Node, read_documents
from uer.errors import DataError

OPTIONS = re.compile(r"\[([^\[\]]*)\]$")
"""answers to choose from, at the end of a prompt: `情感倾向[正向,负向]`"""
WIDE = {0x3000: " "} | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
"""signs of full width, which prompts have as plain ones"""
JOIN = {"zh": "{subject}的{relation}", "en": "{relation} of {subject}"}
"""how a prompt asks what something is related to"""
Span = tuple[int, int]


@dataclass
class Ask:
    """One prompt put to one text.

    Attributes:
        prompt: what is looked for. text: where. node: the row of the file.
        spans: characters [start, stop) of the text that answer.
        options: the same in the prompt, where it has answers to choose from.
    """

    prompt: str
    text: str
    node: Node | None = None
    spans: list[Span] = field(default_factory=list)
    options: list[Span] = field(default_factory=list)

    @property
    def chooses(self) -> int | None:
        """Where in the prompt the answers to choose from begin; None for a prompt without any."""
        match = OPTIONS.search(narrow(self.prompt))
        return None if match is None else match.start(1)


def read_asks(path: str | Path, *, lang: str = "zh") -> list[Ask]:
    """All prompts of a labelled file.

    Args:
        lang: a key of `JOIN`, for rows of doccano.

    Raises:
        DataError: a fault of a row, an answer that is not where it is said to be, or no row.
    """
    asks = [ask for row in read_documents(path) for ask in _asks(row, lang)]
    if not asks:
        raise DataError("there is no row in the file.", path=path)
    return asks


def read_open(path: str | Path, *, prompted: bool) -> list[dict[str, str]]:
    """The rows of a file without answers; see `stream_open`."""
    return list(stream_open(path, prompted=prompted))


def stream_open(path: str | Path, *, prompted: bool) -> Iterator[dict[str, str]]:
    """The rows without answers of a file, or of standard input as they come: `content`, and `prompt` where
    each row has its own.

    Raises:
        DataError: a fault of a row, or no row.
    """
    empty = True
    for row in read_documents(path):
        if prompted and row.find("prompt") is None:
            raise row.fault("has no 'prompt'; name a schema with --schema_path, or give each row its prompt.")
        text = row.find("content") or row.get("text")
        empty = False
        yield {"content": text.text(), **({"prompt": row.get("prompt").text()} if prompted else {})}
    if empty:
        raise DataError("there is no row in the file.", path=path)


def _asks(row: Node, lang: str) -> list[Ask]:
    if row.find("content") is not None:
        return [_prompted(row)]
    text = (row.find("text") or row.get("data")).text()
    listed, found = row.find("label"), dict[str, list[Span]]()
    if listed is not None and isinstance(listed.value, list):
        for entry in listed.items():
            start, stop, kind = entry.items(3)[:3]
            found.setdefault(kind.text(), []).append(_span(entry, text, start, stop))
        return _gathered(text, row, found)
    source = row if listed is None else listed
    places: dict[object, Span] = {}
    for entity in source.get("entities").items():
        span = _span(entity, text, entity.get("start_offset"), entity.get("end_offset"))
        places[entity.get("id").value] = span
        found.setdefault(entity.get("label").text(), []).append(span)
    relations = source.find("relations")
    for relation in [] if relations is None else relations.items():
        ends = [relation.get(name) for name in ("from_id", "to_id")]
        if lost := next((end for end in ends if end.value not in places), None):
            raise lost.fault(f"no entity of the row has the id {lost.value!r}.")
        subject, answer = (places[end.value] for end in ends)
        prompt = joined(text[slice(*subject)], relation.get("type").text(), lang)
        found.setdefault(prompt, []).append(answer)
    return _gathered(text, row, found)


def _gathered(text: str, row: Node, found: dict[str, list[Span]]) -> list[Ask]:
    return [Ask(prompt, text, row, sorted(set(spans))) for prompt, spans in found.items()]


def _span(node: Node, text: str, start: Node, stop: Node) -> Span:
    span = start.of(int), stop.of(int)
    if not 0 <= span[0] < span[1] <= len(text):
        raise node.fault(f"is no stretch of the text: {span[0]} to {span[1]} of {len(text)} characters.")
    return span


def _prompted(row: Node) -> Ask:
    """A row of PaddleNLP's; an answer at negative places stands in the prompt, counted from its end."""
    ask = Ask(row.get("prompt").text(), row.get("content").text(), row)
    if not ask.prompt.strip():
        raise row.get("prompt").fault("is empty; it says what is looked for.")
    for result in row.get("result_list").items():
        said, start = result.get("text").text(), result.get("start").of(int)
        if start < 0:
            ask.options.append(_option(ask.prompt, said, result))
            continue
        span = _span(result, ask.text, result.get("start"), result.get("end"))
        if (there := ask.text[slice(*span)]) != said:
            raise result.fault(
                f"'{said[:30]}' is not at {span[0]} to {span[1]}, where '{there[:30]}' stands."
            )
        ask.spans.append(span)
    return ask


def _option(prompt: str, said: str, node: Node) -> Span:
    match = OPTIONS.search(narrow(prompt))
    place = -1 if match is None or not said else prompt.find(said, match.start(1))
    if place < 0:
        raise node.fault(f"'{said[:30]}' is none of the answers that the prompt '{prompt[:60]}' offers.")
    return place, place + len(said)


def joined(subject: str, relation: str, lang: str) -> str:
    """The prompt that asks for what `subject` is related to; answers to choose from stay at its end."""
    options = OPTIONS.search(relation) if lang == "en" else None
    if options is None:
        return JOIN[lang].format(subject=subject, relation=relation)
    name = relation[: options.start()].rstrip()
    return f"{JOIN[lang].format(subject=subject, relation=name)} {options.group()}"


def asked(ask: Ask, lang: str) -> str:
    """What a prompt asks for, whomever it is about: a type, a relation, what stands before brackets."""
    name = ask.prompt if ask.chooses is None else ask.prompt[: ask.chooses - 1].rstrip()
    pair = _relation(Ask(name, ask.text), lang)
    return name if pair is None else pair[1]


def narrow(prompt: str) -> str:
    """A prompt with plain signs in place of those of full width, as many characters as before."""
    return prompt.translate(WIDE)


def with_negatives(asks: Sequence[Ask], ratio: int, *, lang: str, seed: int) -> list[Ask]:
    """The same prompts, and others without an answer: what the file asks elsewhere and not of this text.

    Of a text these are the types of other texts, and each of its subjects with each relation of the file that
    it is not asked for; at most `ratio` for each prompt of the text that has an answer.
    """
    of_text: dict[str, list[Ask]] = defaultdict(list)
    for ask in asks:
        of_text[ask.text].append(ask)
    split = {id(ask): _relation(ask, lang) for ask in asks if ask.chooses is None}
    types = sorted({ask.prompt for ask in asks if id(ask) in split and split[id(ask)] is None})
    relations = sorted({pair[1] for pair in split.values() if pair is not None})
    rng, more = np.random.default_rng(seed), list[Ask]()
    for text, own in of_text.items():
        known = {ask.prompt for ask in own}
        subjects = dict.fromkeys(pair[0] for ask in own if (pair := split.get(id(ask))) is not None)
        absent = [*types, *(joined(subject, name, lang) for subject in subjects for name in relations)]
        absent = [prompt for prompt in dict.fromkeys(absent) if prompt not in known]
        count = min(len(absent), ratio * max(1, sum(bool(ask.spans) for ask in own)))
        chosen = np.sort(rng.choice(len(absent), count, replace=False)) if count else ()
        more += [Ask(absent[number], text, own[0].node) for number in chosen]
    return [*asks, *more]


def _relation(ask: Ask, lang: str) -> tuple[str, str] | None:
    """Subject and relation of a prompt, the subject as long as the text has one; None for a type."""
    return next(
        (pair for pair in _cuts(ask.prompt, lang) if pair[0] and pair[1] and pair[0] in ask.text), None
    )


def _cuts(prompt: str, lang: str) -> Iterator[tuple[str, str]]:
    joint = JOIN[lang].format(subject="", relation="")
    for match in sorted(re.finditer(re.escape(joint), prompt), key=lambda m: m.start(), reverse=lang == "zh"):
        first, second = prompt[: match.start()], prompt[match.end() :]
        yield (first, second) if lang == "zh" else (second, first)
