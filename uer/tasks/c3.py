"""Questions about a dialogue or a text with choices, in the format of C3:
`[ [[sentence, …], [{"question", "choice": […], "answer", "id"}, …], document id], … ]`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uer.data.documents import Node, read_document
from uer.tasks.choice import ChoiceTask, Questions, question_file
from uer.tasks.rows import join


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
        encoded.gold = np.array([question.answer for question in questions], np.int64)
        return self.settle(encoded, [question.node for question in questions], training)

    def questions(self, path: str | Path, *, answered: bool) -> list[Question]:
        """The questions of a file, or of standard input.

        Args:
            answered: each must have its answer.
        """
        found = [
            self._question(document, passage, node, number, answered)
            for document in read_document(path).items()
            for passage, nodes in [self._parts(document)]
            for number, node in enumerate(nodes)
        ]
        question_file(path, len(found))
        return found

    @staticmethod
    def _parts(document: Node) -> tuple[str, list[Node]]:
        """The text of a document, and its questions."""
        parts = document.items(least=2)
        return "\n".join(item.text() for item in parts[0].items()).lower(), parts[1].items()

    def _question(self, document: Node, passage: str, node: Node, number: int, answered: bool) -> Question:
        choices = [text.lower() for text in self.choices(node.get("choice"))]
        answer = None
        if answered:
            text = node.get("answer").text().lower()
            if text not in choices:
                raise node.get("answer").fault(
                    f"'{text[:40]}' is none of the choices: {', '.join(choices)[:120]}."
                )
            answer = choices.index(text)
        name = node.find("id")
        if name is None:
            whole = len(document.value) > 2 and isinstance(document.value[2], (str, int))
            identity: str | int = f"{document.value[2] if whole else document.place}-{number}"
        else:
            identity = name.of(int) if isinstance(name.value, int) else name.text()
        return Question(passage, node.get("question").text().lower(), choices, answer, identity, node)

    def encode(self, questions: Sequence[Question]) -> Questions:
        """Questions as rows of ids; their answers are left out."""
        tokenizer = self.tokenizer
        every = [(question, choice) for question in questions for choice in question.choices]
        choices, asked, passages = (
            tokenizer.encode_batch(texts)
            for texts in (
                [choice for _, choice in every],
                [question.question for question, _ in every],
                [question.passage for question, _ in every],
            )
        )
        sep = tokenizer.sep_id
        pieces = [
            (tokenizer.cls_id, 1),
            (choices, 1),
            (sep, 1),
            (asked, 1),
            (sep, 1),
            (passages, 2),
            (sep, 2),
        ]
        counts = [len(question.choices) for question in questions]
        return Questions(join(pieces, self.seq_length), np.concatenate([[0], np.cumsum(counts)]))


def lines(questions: Sequence[Question], logits: np.ndarray) -> list[str]:
    """UER's output: a JSON object a question, with the number of the best choice."""
    best = logits.argmax(axis=1).tolist()
    return [
        json.dumps({"id": question.id, "label": label}, ensure_ascii=False)
        for question, label in zip(questions, best)
    ]
