"""Questions about a dialogue or a text with choices, in the format of C3:
`[ [[sentence, …], [{"question", "choice": […], "answer", "id"}, …], document id], … ]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uer.data.documents import Node, read_stream
from uer.tasks.choice import ChoiceTask, Questions, question_file
from uer.tasks.rows import Ragged, join, picked, places_of
from uer.tasks.windows import Windows, windows


@dataclass
class Question:
    """One question.

    Attributes:
        passage, question, choices: texts. answer: the number of the right choice; None when it is not told.
        id: its own, or DOCUMENT-NUMBER. node: where it stands.
    """

    passage: str
    question: str
    choices: list[str]
    answer: int | None
    id: str | int
    node: Node


class C3Task(ChoiceTask):
    """`[CLS] choice [SEP] question [SEP] passage [SEP]`, all in lower case."""

    name = "c3"

    def read(self, path: str | Path, *, training: bool = False) -> Questions:
        """A labelled file as questions.

        Raises:
            DataError: a fault of the document, or an answer that is none of the choices.
        """
        questions = self.questions(path, answered=True)
        encoded = self.encode(questions)
        gold = np.array([question.answer for question in questions], np.int64)
        encoded.gold = gold if encoded.of is None else gold[encoded.of]
        return self.settle(encoded, [question.node for question in questions], training)

    def questions(self, path: str | Path, *, answered: bool) -> list[Question]:
        """The questions of a file."""
        return list(self.stream(path, answered=answered))

    def stream(self, path: str | Path, *, answered: bool) -> Iterator[Question]:
        """The questions of a file, or of standard input as they come.

        Args:
            answered: each must have its answer.
        """
        found = documents = 0
        for whole in read_stream(path):
            for document in whole.items():
                passage, nodes = self._parts(document)
                parts, place = document.value, documents
                if len(parts) > 2 and isinstance(parts[2], (str, int)):
                    place = parts[2]
                documents += 1
                for number, node in enumerate(nodes):
                    found += 1
                    yield self._question(f"{place}-{number}", passage, node, answered)
        question_file(path, found)

    @staticmethod
    def _parts(document: Node) -> tuple[str, list[Node]]:
        """The text of a document, and its questions."""
        parts = document.items(least=2)
        return "\n".join(item.text() for item in parts[0].items()).lower(), parts[1].items()

    def _question(self, called: str, passage: str, node: Node, answered: bool) -> Question:
        """A question, which is `called` so where it has no id."""
        choices = [text.lower() for text in self.choices(node.get("choice"))]
        answer = None
        if answered:
            text = node.get("answer").text().lower()
            if text not in choices:
                raise node.get("answer").fault(
                    f"'{text[:40]}' is none of the choices: {', '.join(choices)[:120]}."
                )
            answer = choices.index(text)
        name, identity = node.find("id"), called
        if name is not None:
            identity = name.of(int) if isinstance(name.value, int) else name.text()
        return Question(passage, node.get("question").text().lower(), choices, answer, identity, node)

    def encode(self, questions: Sequence[Question]) -> Questions:
        """Questions as rows of ids; their answers are left out."""
        tokenizer = self.tokenizer
        counts = np.array([len(question.choices) for question in questions])
        choices = tokenizer.encode_batch([choice for question in questions for choice in question.choices])
        asked = tokenizer.encode_batch([question.question for question in questions])
        passages = tokenizer.encode_batch([question.passage for question in questions])
        cut = self._windows(choices, asked, passages, counts)
        rows_of = counts[cut.row]  # of each window
        window = np.repeat(np.arange(len(cut.row)), rows_of)
        which = places_of((counts.cumsum() - counts)[cut.row], rows_of)
        sep = tokenizer.sep_id
        pieces = [
            (tokenizer.cls_id, 1),
            (picked(choices, which), 1),
            (sep, 1),
            (picked(asked, cut.row[window]), 1),
            (sep, 1),
            (picked(passages, cut.row[window], cut.start[window], cut.stop[window]), 2),
            (sep, 2),
        ]
        rows = join(pieces, self.seq_length)
        whole = len(cut.row) == len(questions)
        return Questions(rows, np.concatenate([[0], rows_of.cumsum()]), of=None if whole else cut.row)

    def _windows(self, choices: Ragged, asked: Ragged, passages: Ragged, counts: np.ndarray) -> Windows:
        """The stretches of each question's passage that are read; they are the same for all its choices.

        Where question and choices leave no room for a passage it is cut, whatever `overflow` says.
        """
        lengths = np.diff(passages[1])
        longest = np.maximum.reduceat(np.diff(choices[1]), counts.cumsum() - counts)
        room = self.seq_length - 4 - np.diff(asked[1]) - longest
        if self.overflow != "window":
            room[:] = 0
        return windows(lengths, np.where(room > 0, room, np.maximum(lengths, 1)))


def answers(
    questions: Sequence[Question], logits: np.ndarray, keep: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """UER's output: an object a question, with the number of the best choice.

    Args:
        keep: keys of the questions that are copied; one that has the name of what is predicted becomes
            `input_NAME`.

    Raises:
        DataError: a question lacks such a key.
    """
    out = []
    for question, label in zip(questions, logits.argmax(axis=1).tolist()):
        answer = {"id": question.id, "label": label}
        kept = {f"input_{name}" if name in answer else name: question.node.get(name).value for name in keep}
        out.append({**answer, **kept})
    return out
