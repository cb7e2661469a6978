"""Write the corpora, data sets and small vocabulary that ship with the toolkit, from word lists of our own.

The reviews have structure worth learning. A judging word is good or bad as a whole: most share their
characters with words of the other side (细腻 and 细碎, 老练 and 老套). The corpora use every judging word,
beside adverbs that go with one side only (格外 with the good, 有点 with the bad). The labelled sets use
neutral adverbs; there a negation turns a clause around, and of two clauses in contrast the second counts.
Their training part knows two fifths of the judging words, the development and test parts all of them: so
what the corpus teaches is what a classifier lacks that has read nothing but the labels.

The same seed gives the same bytes. `corpora/README.md` and `datasets/README.md` describe the files.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from sample_tasks import task_files
from sample_words import CHINESE, ENGLISH, Words

from uer.cli import Command, run
from uer.config.sample_data import SampleDataOptions
from uer.utils.files import atomic_write
from uer.utils.logging import logger

REVIEWS = ("douban_book_review", "product_review", "product_pairs")
"""the sets whose texts the vocabulary is of; the others are written in the same characters"""
NEGATED, CONTRASTED = 0.05, 0.05
WITHHELD = 0.6
"""share of the judging words that no labelled training row uses"""


@dataclass(frozen=True)
class Writer:
    """Writes reviews in one language.

    Attributes:
        words: the word lists and sentence forms.
        good, bad: judging words to choose from.
        plain: use the adverbs that go with one side only, no negation and no contrast.
    """

    words: Words
    good: Sequence[str]
    bad: Sequence[str]
    plain: bool
    rng: random.Random

    def clause(self, positive: bool) -> str:
        """A clause that judges one thing."""
        pick, words = self.rng.choice, self.words
        noun = pick(words.nouns)
        if not self.plain and self.rng.random() < NEGATED:
            return pick(words.negations).format(n=noun, a=pick(self.bad if positive else self.good))
        word = pick(self.good if positive else self.bad)
        if self.plain:
            adverb = pick(words.good_adverbs if positive else words.bad_adverbs)
            return words.marked.format(n=noun, d=adverb, a=word)
        return pick(words.forms).format(n=noun, d=pick(words.adverbs), a=word)

    def sentence(self, positive: bool) -> str:
        """A clause, or two in contrast of which the second counts."""
        if not self.plain and self.rng.random() < CONTRASTED:
            form = self.rng.choice(self.words.contrasts)
            return form.format(x=self.clause(not positive), y=self.clause(positive))
        return self.clause(positive)

    def review(self, positive: bool, clauses: Sequence[int], closing: float = 0.0) -> str:
        """Some sentences of one opinion, perhaps behind a remark, perhaps before a verdict."""
        parts = [self.sentence(positive) for _ in range(self.rng.choice(clauses))]
        if self.rng.random() < 0.25:
            parts.insert(0, self.rng.choice(self.words.remarks))
        if self.rng.random() < closing:
            parts.append(self.rng.choice(self.words.verdicts)[0 if positive else 1])
        return self.words.join(parts)

    def document(self, positive: bool) -> list[str]:
        """A longer review, one sentence a line, in the order that readers expect."""
        words, pick = self.words, self.rng.choice
        points = [self.clause(positive) for _ in range(len(words.order))]
        lines = [pick(words.remarks), *(f.format(x=p) for f, p in zip(words.order, points))]
        lines.append(words.closing.format(x=pick(words.verdicts)[0 if positive else 1]))
        return [words.join([line]) for line in lines]


class Language:
    """All files of one language.

    Args:
        words: its word lists.
        seed: of everything drawn.
    """

    def __init__(self, words: Words, seed: int) -> None:
        self.rng = random.Random(f"{words.name} {seed}")
        self.words = words
        good, bad = list(words.good), list(words.bad)
        self.rng.shuffle(good)
        self.rng.shuffle(bad)
        known_good, known_bad = (side[: round(len(side) * (1 - WITHHELD))] for side in (good, bad))
        self.reader = Writer(words, good, bad, True, self.rng)
        self.every = Writer(words, good, bad, False, self.rng)
        self.known = Writer(words, known_good, known_bad, False, self.rng)
        self.used: set[str] = set()

    def coin(self) -> bool:
        """True or False."""
        return self.rng.random() < 0.5

    def corpus(self, count: int) -> list[str]:
        """Reviews for pre-training, one a line."""
        return [self.reader.review(self.coin(), (3, 4), closing=0.15) for _ in range(count)]

    def documents(self, count: int) -> list[list[str]]:
        """Reviews for pre-training, one sentence a line."""
        return [self.reader.document(self.coin()) for _ in range(count)]

    def fresh(self, make: Callable[[], str]) -> str:
        """A text that no row has used yet."""
        while (text := make()) in self.used:
            continue
        self.used.add(text)
        return text

    def rows(self, writer: Writer, count: int) -> list[tuple[bool, str]]:
        """Labelled reviews, as many good as bad, in random order."""
        rows = []
        for number in range(count):
            positive = number % 2 == 0
            rows.append((positive, self.fresh(lambda side=positive: writer.review(side, (2, 3)))))
        self.rng.shuffle(rows)
        return rows

    def pairs(self, writer: Writer, count: int) -> list[tuple[bool, str, str]]:
        """Two texts each, and whether they are of one opinion."""
        rows = []
        for number in range(count):
            agree, positive = number % 2 == 0, self.coin()
            first = self.fresh(lambda side=positive: writer.review(side, (2,)))
            rows.append((agree, first, writer.review(positive == agree, (1, 2))))
        self.rng.shuffle(rows)
        return rows


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write lines of text and say so."""
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines))
    logger.info("Wrote %s: %d lines, %d kB.", path, len(lines), path.stat().st_size // 1000)


def write_corpora(folder: Path, language: Language, sizes: tuple[int, int], name: str) -> None:
    """One corpus with a document a line, one with a sentence a line."""
    write_lines(folder / f"{name}.txt", language.corpus(sizes[0]))
    documents = language.documents(sizes[1])
    write_lines(folder / f"{name}_bert.txt", [line for document in documents for line in (*document, "")])


def write_reviews(folder: Path, language: Language, sizes: dict[str, int], labels: tuple[str, str]) -> None:
    """train.tsv, dev.tsv and test.tsv with the columns label and text_a."""
    for part in ("test", "dev", "train"):  # the test set first: later parts avoid its texts
        rows = language.rows(language.known if part == "train" else language.every, sizes[part])
        lines = [f"{labels[positive]}\t{text}" for positive, text in rows]
        write_lines(folder / f"{part}.tsv", ["label\ttext_a", *lines])


def write_pairs(folder: Path, language: Language, sizes: dict[str, int]) -> None:
    """train.tsv, dev.tsv and test.tsv with the columns label, text_a and text_b."""
    for part in ("test", "dev", "train"):
        rows = language.pairs(language.known if part == "train" else language.every, sizes[part])
        lines = [f"{'agree' if agree else 'differ'}\t{a}\t{b}" for agree, a, b in rows]
        write_lines(folder / f"{part}.tsv", ["label\ttext_a\ttext_b", *lines])


def vocabulary(texts: Sequence[str]) -> list[str]:
    """Reserved tokens, sentinels, signs, English words and letters, Chinese characters.

    The characters are those of our texts and the first level of GB 2312, which Python knows as a codec.
    """
    reserved = ["[PAD]", *(f"[unused{number}]" for number in range(1, 100))]
    reserved += ["[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"<extra_id_{number}>" for number in range(100))]
    level_one = [bytes((row, cell)) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
    characters = {code.decode("gb2312", errors="ignore") for code in level_one}
    signs = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
    joined = "".join(texts)
    ours = {sign for sign in joined if not sign.isspace() and not (sign.isascii() and sign.isalpha())}
    english = {word for text in texts for word in "".join(c if c.isascii() else " " for c in text).split()}
    whole = {word.strip(".,!?'").lower() for word in english}
    letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    endings = [
        f"##{ending}" for ending in ("s", "ed", "ing", "ly", "er", "est", "ness", "ful", "less", "ment")
    ]
    tokens = [*reserved, *signs, *letters, *endings, *sorted(word for word in whole if word.isalpha())]
    tokens += sorted((characters | ours) - {""})
    return list(dict.fromkeys(tokens))


def main(argv: list[str] | None = None) -> int:
    """Write everything under the output folder."""
    command = Command("scripts/make_sample_data.py", "Write the data that ships.", SampleDataOptions)
    chosen = command.start(argv)
    options = chosen[SampleDataOptions]
    folder = Path(options.output_dir) if options.output_dir else ROOT
    chinese, english = Language(CHINESE, options.seed), Language(ENGLISH, options.seed)
    write_corpora(folder / "corpora", chinese, (4800, 600), "book_review")
    write_corpora(folder / "corpora", english, (1000, 200), "product_review")
    write_lines(folder / "corpora" / "story_beginning.txt", list(CHINESE.beginnings))
    sizes = {"train": 4000, "dev": 500, "test": 1000}
    write_reviews(folder / "datasets" / "douban_book_review", chinese, sizes, ("0", "1"))
    write_reviews(
        folder / "datasets" / "product_review", english, {**sizes, "train": 1400}, ("negative", "positive")
    )
    write_pairs(folder / "datasets" / "product_pairs", english, {"train": 800, "dev": 200, "test": 200})
    for name, lines in task_files(CHINESE, options.seed).items():
        write_lines(folder / "datasets" / name, lines)
    files = [*sorted((folder / "corpora").glob("*.txt"))]
    files += [file for name in REVIEWS for file in sorted((folder / "datasets" / name).glob("*.tsv"))]
    texts = [file.read_text(encoding="utf-8") for file in files]
    write_lines(folder / "models" / "zh_en_vocab.txt", vocabulary(texts))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
