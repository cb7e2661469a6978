"""Small data sets of the other tasks, in the words of the reviews; `datasets/README.md` describes them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sample_words import GROUPS, IDIOMS, Words

PARTS = ("test", "dev", "train")
"""the test set first: later parts avoid its texts"""
OPINION, SENTIMENT, THING = "观点词", "情感倾向[正向,负向]", "评价维度"


@dataclass(frozen=True)
class Point:
    """A clause that judges one thing.

    Attributes:
        text: the clause. noun, word: what is judged, and the word that does it. good: its opinion.
    """

    text: str
    noun: str
    word: str
    good: bool


def dumped(value: Any) -> str:
    """JSON in one line, characters as they are."""
    return json.dumps(value, ensure_ascii=False)


def answer(text: str, start: int) -> dict[str, Any]:
    """A stretch of text, as UIE's files have it."""
    return {"text": text, "start": start, "end": start + len(text)}


class TaskData:
    """Rows of every task; no text stands twice in a data set.

    Args:
        words: the word lists and sentence forms.
        seed: of everything drawn.
    """

    def __init__(self, words: Words, seed: int) -> None:
        self.words, self.rng = words, random.Random(f"tasks {seed}")
        self.used: set[str] = set()

    def point(self, noun: str | None = None, good: bool | None = None) -> Point:
        """A clause about a noun, of an opinion; what is not said is drawn."""
        words, pick = self.words, self.rng.choice
        good = self.rng.random() < 0.5 if good is None else good
        noun, word = noun or pick(words.nouns), pick(words.good if good else words.bad)
        text = pick(words.forms).format(n=noun, d=pick(words.adverbs), a=word)
        return Point(text, noun, word, good)

    def points(self, low: int, high: int) -> list[Point]:
        """Clauses about different things, in a text that no row has used yet."""
        while True:
            nouns = self.rng.sample(self.words.nouns, self.rng.randint(low, high))
            points = [self.point(noun) for noun in nouns]
            if self.text(points) not in self.used:
                self.used.add(self.text(points))
                return points

    def text(self, points: Sequence[Point]) -> str:
        """The clauses as one text."""
        return self.words.join([point.text for point in points])

    def tags(self, number: int) -> list[str]:
        """Characters and their tags: the thing, praise, blame."""
        points = self.points(1, 2)
        text = self.text(points)
        tags, at = ["O"] * len(text), 0
        for point in points:
            thing = (point.text.index(point.noun), point.noun, "THING")
            opinion = (point.text.rindex(point.word), point.word, "PRAISE" if point.good else "BLAME")
            for start, word, kind in (thing, opinion):
                names = [f"B-{kind}", *[f"I-{kind}"] * (len(word) - 1)]
                tags[at + start : at + start + len(word)] = names
            at += len(point.text) + len(self.words.comma)
        return [f"{' '.join(text)}\t{' '.join(tags)}"]

    def topics(self, number: int) -> list[str]:
        """What a review speaks of, and the review."""
        points = self.points(1, 3)
        found = [name for name, nouns in GROUPS.items() if any(point.noun in nouns for point in points)]
        if number % 8 == 0:
            return [f"\t{self.remark()}"]
        return [f"{','.join(found)}\t{self.text(points)}"]

    def remark(self) -> str:
        """A text that judges nothing."""
        while (text := self.words.join(self.rng.sample(self.words.remarks, 2))) in self.used:
            continue
        self.used.add(text)
        return text

    def alike(self, number: int) -> list[str]:
        """How alike two clauses are: 3 for the same opinion, 2 for the same thing."""
        first = self.points(1, 1)[0]
        others = [noun for noun in self.words.nouns if noun != first.noun]
        same, thing = number % 2 == 0, number % 4 < 2
        second = self.point(first.noun if thing else self.rng.choice(others), first.good == same)
        return [f"{3 * same + 2 * thing}\t{self.text([first])}\t{self.text([second])}"]

    def sentences(self, number: int) -> list[str]:
        """A question and four sentences, of which one answers it."""
        points = self.points(4, 4)
        asked = self.rng.randrange(4)
        question = f"{points[asked].noun}怎么样?"
        rows = enumerate(points)
        return [f"{number}\t{int(place == asked)}\t{question}\t{self.text([point])}" for place, point in rows]

    def questions(self, number: int) -> list[str]:
        """A review, a question that it answers, and now and then one that it does not."""
        points = self.points(3, 4)
        context, name = self.text(points), f"review-{len(self.used)}"
        asked = self.rng.randrange(len(points))
        point = points[asked]
        start = sum(len(one.text) + len(self.words.comma) for one in points[:asked])
        right = {"text": point.word, "answer_start": start + point.text.rindex(point.word)}
        found = [{"id": f"{name}-1", "question": f"{point.noun}怎么样?", "answers": [right]}]
        if number % 3 == 0:
            absent = self.rng.choice([noun for noun in self.words.nouns if noun not in context])
            found.append({"id": f"{name}-2", "question": f"{absent}怎么样?", "answers": []})
        return [dumped({"context": context, "qas": found})]

    def choices(self, number: int) -> list[str]:
        """A review and a question with words to choose from."""
        points = self.points(3, 3)
        point, held = self.rng.choice(points), {one.word for one in points}
        pool = [word for word in (*self.words.good, *self.words.bad) if word not in held]
        offered = [point.word, *self.rng.sample(pool, 2 + number % 2)]
        self.rng.shuffle(offered)
        question = {"question": f"作者觉得{point.noun}怎么样?", "choice": offered, "answer": point.word}
        return [dumped([[self.text([one]) for one in points], [question], f"review-{len(self.used)}"])]

    def blanks(self, number: int) -> tuple[str, dict[str, int]]:
        """Candidates and a text with a blank, and which candidate belongs into it."""
        text = None
        while text is None or text in self.used:
            idiom = self.rng.choice(list(IDIOMS))
            before, behind = (self.rng.choice(side) for side in IDIOMS[idiom])
            text = f"{self.rng.choice(self.words.remarks)}，{before}{{}}{behind}。"
        self.used.add(text)
        candidates = [idiom, *self.rng.sample([other for other in IDIOMS if other != idiom], 4)]
        self.rng.shuffle(candidates)
        tag = f"#idiom{len(self.used):06d}#"
        line = dumped({"candidates": candidates, "content": [text.format(tag)]})
        return line, {tag: candidates.index(idiom)}

    def summaries(self, number: int) -> list[str]:
        """What a review says in short, and the review."""
        points = self.points(2, 2)
        short = "，".join(f"{point.noun}{'好' if point.good else '差'}" for point in points)
        return [f"{short}\t{self.text(points)}"]

    def opinions(self, number: int) -> list[str]:
        """Prompts for what a review judges, and by which word, and how."""
        points = self.points(1, 2)
        context, at = self.text(points), 0
        asked: dict[str, list[dict[str, Any]]] = {THING: []}
        for point in points:
            asked[THING].append(answer(point.noun, at + point.text.index(point.noun)))
            asked[f"{point.noun}的{OPINION}"] = [answer(point.word, at + point.text.rindex(point.word))]
            prompt, side = f"{point.noun}的{SENTIMENT}", "正向" if point.good else "负向"
            # an answer that stands in the prompt: its place is counted from the prompt's end
            asked[prompt] = [answer(side, prompt.index(side) - len(prompt) - 1)]
            at += len(point.text) + len(self.words.comma)
        rows = [{"content": context, "prompt": prompt, "result_list": asked[prompt]} for prompt in asked]
        return [dumped(row) for row in rows]


TABLES = {
    "review_tags": ("tags", "text_a\tlabel", (25, 20, 110)),
    "review_topics": ("topics", "label\ttext_a", (40, 32, 130)),
    "review_alike": ("alike", "label\ttext_a\ttext_b", (40, 32, 160)),
    "review_sentences": ("sentences", "qid\tlabel\ttext_a\ttext_b", (8, 6, 40)),
    "review_summaries": ("summaries", "label\ttext_a", (25, 20, 120)),
}
"""folder → method, header, rows of test, dev and train"""
DOCUMENTS = {
    "review_questions": ("questions", '{"data": [{"paragraphs": [', "]}]}", (8, 6, 60)),
    "review_choices": ("choices", "[", "]", (8, 6, 60)),
}
"""folder → method, beginning and end of the document, entries of test, dev and train"""


def task_files(words: Words, seed: int) -> dict[str, list[str]]:
    """All files: name below `datasets/` → lines."""
    files: dict[str, list[str]] = {}

    def parts(method: str, sizes: Sequence[int]) -> Iterator[tuple[str, list[Any]]]:
        """The rows of each part; no text stands in two."""
        make: Callable[[int], Any] = getattr(TaskData(words, seed), method)
        for part, size in zip(PARTS, sizes):
            yield part, [make(number) for number in range(size)]

    for folder, (method, header, sizes) in TABLES.items():
        for part, found in parts(method, sizes):
            files[f"{folder}/{part}.tsv"] = [header, *(line for lines in found for line in lines)]
    for folder, (method, first, last, sizes) in DOCUMENTS.items():
        for part, found in parts(method, sizes):
            entries = ",\n".join(line for lines in found for line in lines)
            files[f"{folder}/{part}.json"] = [first, entries, last]
    for part, found in parts("blanks", (10, 8, 40)):
        files[f"idiom_blanks/{part}.jsonl"] = [line for line, _ in found]
        answers = {tag: place for _, entry in found for tag, place in entry.items()}
        files[f"idiom_blanks/{part}_answers.json"] = [dumped(answers)]
    for part, found in parts("opinions", (4, 3, 26)):
        files[f"review_opinions/{part}.jsonl"] = [line for lines in found for line in lines]
    files["review_opinions/schema.json"] = [dumped({THING: [OPINION, SENTIMENT]})]
    return files
