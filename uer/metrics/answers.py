"""Scores of answers found in a text: exact match and F1 as CMRC 2018, SQuAD and UER-py define them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from uer.errors import pick

# The signs that CMRC 2018 leaves out of account; "……" is two characters there, so "…" alone counts.
CMRC_SIGNS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
CHINESE = re.compile(r"[\u4e00-\u9fa5]")
PLAIN = re.compile(r"[0-9 ]*")
ARTICLES = re.compile(r"\b(?:a|an|the)\b")


class Definition(NamedTuple):
    """How one prediction is compared with one answer."""

    exact: Callable[[str, str], bool]
    f1: Callable[[str, str], float]


def without_signs(text: str) -> str:
    """Lower case, no signs, no blanks at the ends: what exact match compares in CMRC 2018."""
    return "".join(char for char in text.lower().strip() if char not in CMRC_SIGNS)


def cmrc_segments(text: str) -> list[str]:
    """Chinese characters one by one, what stands between them as words of English, signs left out."""
    segments: list[str] = []
    run = ""
    for char in text.lower().strip():
        if char in CMRC_SIGNS:
            continue
        if CHINESE.match(char):
            segments += english_words(run)
            segments.append(char)
            run = ""
        else:
            run += char
    return segments + english_words(run)


def english_words(text: str) -> list[str]:
    """Words as the Penn Treebank cuts them, which is how CMRC 2018 cuts what is not Chinese (by NLTK).

    NLTK also looks for sentences first, with a trained model; an answer is taken for one sentence here.
    """
    if PLAIN.fullmatch(text):
        return text.split()
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer().tokenize(text)


def uer_segments(text: str) -> list[str]:
    """Every character by itself, signs left out, case kept: UER-py's variant."""
    return [char for char in text.strip() if char not in CMRC_SIGNS]


def common_run(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Length of the longest run of entries that both have."""
    best, above = 0, [0] * (len(other) + 1)
    for entry in one:
        row = [0]
        for place, theirs in enumerate(other):
            row.append(above[place] + 1 if entry == theirs else 0)
        best, above = max(best, max(row)), row
    return best


def run_f1(ours: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of the longest common run against both lengths."""
    run = common_run(gold, ours)
    if not run:
        return 0.0
    precision, recall = run / len(ours), run / len(gold)
    return 2 * precision * recall / (precision + recall)


def squad_words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles."""
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return ARTICLES.sub(" ", text).split()


def squad_f1(prediction: str, answer: str) -> float:
    """F1 of words as bags; two texts without a word agree, one of them does not."""
    ours, gold = squad_words(prediction), squad_words(answer)
    if not ours or not gold:
        return float(ours == gold)
    same = sum((Counter(ours) & Counter(gold)).values())
    if not same:
        return 0.0
    precision, recall = same / len(ours), same / len(gold)
    return 2 * precision * recall / (precision + recall)


DEFINITIONS = {
    "cmrc": Definition(
        lambda ours, gold: without_signs(ours) == without_signs(gold),
        lambda ours, gold: run_f1(cmrc_segments(ours), cmrc_segments(gold)),
    ),
    "squad": Definition(lambda ours, gold: squad_words(ours) == squad_words(gold), squad_f1),
    "uer": Definition(
        lambda ours, gold: without_signs(ours) == without_signs(gold),
        lambda ours, gold: run_f1(uer_segments(ours), uer_segments(gold)),
    ),
}


class AnswerMatch:
    """Mean over questions of exact match and F1, the best over the answers of a question counting.

    Args:
        kind: a key of `DEFINITIONS`.
    """

    def __init__(self, kind: str = "cmrc") -> None:
        self.definition = pick(kind, DEFINITIONS, "--qa_metric")
        self.exact = self.f1 = 0.0
        self.total = self.skipped = 0

    def update(self, prediction: str | None, answers: Sequence[str]) -> None:
        """Add a question. None predicts that there is no answer, which is right where `answers` is empty.

        SQuAD 2.0 takes no answer for the empty text, to which an article or a sign alone is equal, and leaves
        such answers out where there are others.
        """
        self.total += 1
        self.skipped += prediction is None
        if self.definition is DEFINITIONS["squad"]:
            if prediction is None:
                answers = [answer for answer in answers if squad_words(answer)]
            prediction, answers = prediction or "", answers or [""]
        if prediction is None or not answers:
            right = prediction is None and not answers
            self.exact += right
            self.f1 += right
            return
        self.exact += max(self.definition.exact(prediction, answer) for answer in answers)
        self.f1 += max(self.definition.f1(prediction, answer) for answer in answers)

    def scores(self) -> dict[str, float]:
        """`avg` of both, `f1`, `em`; all in percent."""
        count = max(self.total, 1)
        f1, exact = 100 * self.f1 / count, 100 * self.exact / count
        return {"avg": (f1 + exact) / 2, "f1": f1, "em": exact}

    def report(self) -> list[str]:
        """UER's line; `Skip` counts the questions without a predicted answer."""
        scores = self.scores()
        return [
            f"Avg: {scores['avg']:.4f},F1:{scores['f1']:.4f},EM:{scores['em']:.4f},"
            f"Total:{self.total},Skip:{self.skipped}"
        ]
