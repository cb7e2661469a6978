"""Scores of generated texts: equality, BLEU (by sacrebleu), ROUGE."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from uer.utils.lazy import optional

WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\W_\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
"""a character of Chinese, Japanese or Korean, or a run of other letters and digits"""
CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
TOKENIZERS = ("13a", "zh")


def rouge_words(text: str) -> list[str]:
    """Lower-case words; characters of Chinese, Japanese and Korean count as words."""
    return WORD.findall(text.lower())


def ngrams(words: Sequence[str], size: int) -> Counter:
    """How often each run of `size` words occurs."""
    return Counter(zip(*(words[start:] for start in range(size))))


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    above = [0] * (len(other) + 1)
    for word in one:
        row = [0]
        for place, theirs in enumerate(other):
            row.append(above[place] + 1 if word == theirs else max(above[place + 1], row[-1]))
        above = row
    return above[-1]


def f_measure(same: int, ours: int, gold: int) -> float:
    """F1 of `same` common pieces among `ours` and `gold`."""
    return 2 * same / (ours + gold) if same else 0.0


def rouge(prediction: str, reference: str) -> dict[str, float]:
    """F-measures ROUGE-1, ROUGE-2 and ROUGE-L of one text (Lin 2004)."""
    ours, gold = rouge_words(prediction), rouge_words(reference)
    out = {}
    for size in (1, 2):
        left, right = ngrams(ours, size), ngrams(gold, size)
        out[f"rouge{size}"] = f_measure(sum((left & right).values()), left.total(), right.total())
    out["rougeL"] = f_measure(common_subsequence(ours, gold), len(ours), len(gold))
    return out


def bleu_tokenizer(references: Iterable[str]) -> str:
    """How sacrebleu cuts texts: "zh" where most letters of the references are CJK, else "13a"."""
    text = "".join(references)
    return "zh" if len(CJK.findall(text)) > sum(map(str.isalpha, text)) / 2 else "13a"


class TextMatch:
    """Generated texts against the wanted ones: the share that is equal, BLEU, ROUGE.

    The texts are kept, since BLEU is one number of all of them. Without the package sacrebleu there is no
    BLEU, which the report says.
    """

    def __init__(self) -> None:
        self.total = self.correct = 0
        self._sums = Counter({"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0})
        self._texts: list[tuple[str, str]] = []
        self.has_bleu = importlib.util.find_spec("sacrebleu") is not None

    def update(self, equal: bool, prediction: str, reference: str) -> None:
        """Add a text; `equal` says whether it is the wanted one, by its tokens."""
        self.total += 1
        self.correct += equal
        self._texts.append((prediction, reference))
        for name, value in rouge(prediction, reference).items():
            self._sums[name] += value

    def bleu(self) -> tuple[float, str]:
        """BLEU of all texts in percent (Papineni et al. 2002) and the name of its tokenizer."""
        if not self._texts:
            return 0.0, TOKENIZERS[0]
        predictions, references = (list(side) for side in zip(*self._texts))
        tokenizer = bleu_tokenizer(references)
        sacrebleu = optional("sacrebleu", "bleu")
        score = sacrebleu.corpus_bleu(predictions, [references], tokenize=tokenizer, force=True)
        return float(score.score), tokenizer

    def scores(self) -> dict[str, float]:
        """`acc` (equal texts), `bleu` and `rouge1`, `rouge2`, `rougeL` in percent."""
        count = max(self.total, 1)
        rouges = {name: 100 * value / count for name, value in self._sums.items()}
        return {"acc": self.correct / count, **({"bleu": self.bleu()[0]} if self.has_bleu else {}), **rouges}

    def report(self) -> list[str]:
        """BLEU, ROUGE, UER's line."""
        scores = self.scores()
        bleu = "BLEU: needs the package sacrebleu (pip install 'uer[bleu]')"
        if self.has_bleu:
            bleu = f"BLEU: {scores['bleu']:.2f} ({self.bleu()[1]})"
        return [
            f"{bleu}, ROUGE-1: {scores['rouge1']:.2f}, ROUGE-2: {scores['rouge2']:.2f}, "
            f"ROUGE-L: {scores['rougeL']:.2f}",
            f"Acc. (Correct/Total): {scores['acc']:.4f} ({self.correct}/{self.total}) ",
        ]
