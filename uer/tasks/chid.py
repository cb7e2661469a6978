"""Blanks to fill with idioms, in the format of ChID: a JSON object a line,
`{"candidates": […], "content": ["… #idiom000001# …", …]}`, and a file of answers `{"#idiom000001#": 3, …}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uer.data.documents import Node, read_document, read_documents
from uer.errors import ConfigError
from uer.tasks.choice import ABSENT, ChoiceTask, Questions, question_file
from uer.tasks.rows import join

LEAST = 8  # four special tokens, and four for idiom and text
BLANK = re.compile(r"(#idiom\d{6}#)")


@dataclass
class Blank:
    """One blank.

    Attributes:
        tag: its name. pieces: the text, every second piece a tag. number: which of the pieces it is.
        candidates: the idioms to choose from. node: the line that it stands in.
    """

    tag: str
    pieces: list[str]
    number: int
    candidates: list[str]
    node: Node


class ChidTask(ChoiceTask):
    """`[CLS] idiom [SEP] left [SEP] right [SEP]`: the text on both sides of the blank, `seq_length` - 4 ids
    together; other blanks are `[MASK]`.

    Raises:
        ConfigError: `overflow` is "window", or `seq_length` leaves no room for text around a blank.
    """

    name = "chid"
    cut = "only the text around their blanks is read"

    def __init__(self, tokenizer: Any, *, overflow: str = "truncate", **settings: Any) -> None:
        if overflow == "window":
            raise ConfigError(
                "--overflow window: what is read is already the stretch of text around each blank; choose "
                "truncate, drop or error."
            )
        super().__init__(tokenizer, overflow=overflow, **settings)
        if self.seq_length < LEAST:
            raise ConfigError(
                f"--seq_length {self.seq_length} has no room for an idiom and the text around its blank; "
                f"give {LEAST} or more."
            )

    def read_with_answers(
        self, path: str | Path, answers_path: str | Path, *, training: bool = False
    ) -> Questions:
        """A labelled file as questions.

        Raises:
            DataError: a fault of a line, a blank without an answer, or one that is no number of a candidate.
        """
        blanks, answers = self.blanks(path), read_document(answers_path)
        gold = []
        for blank in blanks:
            answer = answers.get(blank.tag)
            if not 0 <= answer.of(int) < len(blank.candidates):
                raise answer.fault(
                    f"is {answer.value}, but the blank has the candidates 0 … {len(blank.candidates) - 1} "
                    f"({path}:{blank.node.line})."
                )
            gold.append(answer.value)
        encoded = self.encode(blanks)
        encoded.gold = np.array(gold, np.int64)
        return self.settle(encoded, [blank.node for blank in blanks], training)

    def blanks(self, path: str | Path) -> list[Blank]:
        """The blanks of a file."""
        return [blank for line in self.stream(path) for blank in line]

    def stream(self, path: str | Path) -> Iterator[list[Blank]]:
        """The blanks of each line of a file, or of standard input as they come."""
        seen: set[str] = set()
        for node in read_documents(path):
            candidates, found = self.choices(node.get("candidates")), []
            for text in node.get("content").items():
                pieces = BLANK.split(text.text())
                if len(pieces) == 1:
                    raise text.fault("has no blank, as in '#idiom000001#'.")
                found += [Blank(pieces[n], pieces, n, candidates, node) for n in range(1, len(pieces), 2)]
            for blank in found:
                if blank.tag in seen:
                    raise node.fault(f"the blank {blank.tag} stands in the file twice; number them apart.")
                seen.add(blank.tag)
            yield found
        question_file(path, len(seen))

    def encode(self, blanks: Sequence[Blank]) -> Questions:
        """Blanks as rows of ids, one a candidate."""
        tokenizer = self.tokenizer
        sides = [self._sides(blank) for blank in blanks]
        every = [(number, idiom) for number, blank in enumerate(blanks) for idiom in blank.candidates]
        idioms = tokenizer.encode_batch([idiom for _, idiom in every])
        left, right = (_ragged([sides[number][side] for number, _ in every]) for side in (0, 1))
        pieces = [(tokenizer.cls_id, 1), (idioms, 1)]
        for content in (left, right):
            pieces += [(tokenizer.sep_id, 1), (content, 1)]
        rows = join([*pieces, (tokenizer.sep_id, 1)], self.seq_length)
        counts = [len(blank.candidates) for blank in blanks]
        rows.long |= np.repeat([cut for _, _, cut in sides], counts)
        return Questions(rows, np.concatenate([[0], np.cumsum(counts)]))

    def _sides(self, blank: Blank) -> tuple[np.ndarray, np.ndarray, bool]:
        """The ids on the left and on the right of a blank, as many as there is room for; whether there are
        more.
        """
        masked = np.array([self.tokenizer.mask_id], np.int32)
        texts = iter(_split(self.tokenizer.encode_batch(blank.pieces[::2])))
        pieces = [masked if n % 2 else next(texts) for n in range(len(blank.pieces))]
        left = np.concatenate(pieces[: blank.number])
        right = np.concatenate(pieces[blank.number + 1 :])
        room = self.seq_length - 4
        half = room // 2
        of_left, of_right = min(len(left), half), min(len(right), room - half)
        if of_right < room - half:
            of_left = min(len(left), room - of_right)
        elif of_left < half:
            of_right = min(len(right), room - of_left)
        cut = of_left < len(left) or of_right < len(right)
        return left[len(left) - of_left :], right[:of_right], cut


def _split(ragged: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Each text's ids."""
    return np.split(ragged[0], ragged[1][1:-1])


def _ragged(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows as values and offsets."""
    return np.concatenate(rows), np.concatenate([[0], np.cumsum([len(row) for row in rows])])


def fill(blanks: Sequence[Blank], logits: np.ndarray) -> dict[str, int]:
    """The candidate of each blank; in one line no candidate is used twice, as in UER.

    The best of all pairs of a blank and a candidate is taken first, then the best of those whose blank and
    candidate are still free. Blanks that are left over, with more blanks than candidates, take their best.
    """
    lines: dict[int | None, list[int]] = {}
    for number, blank in enumerate(blanks):
        lines.setdefault(blank.node.line, []).append(number)
    chosen: dict[int, int] = {}
    for numbers in lines.values():
        scores = logits[numbers].copy()
        for _ in range(min(len(numbers), len(blanks[numbers[0]].candidates))):
            place, candidate = divmod(int(scores.argmax()), scores.shape[1])
            chosen[numbers[place]] = candidate
            scores[place], scores[:, candidate] = 2 * ABSENT, 2 * ABSENT
    rest = logits.argmax(axis=1)
    return {blank.tag: chosen.get(number, int(rest[number])) for number, blank in enumerate(blanks)}
