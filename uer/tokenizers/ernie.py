"""The tokenizers of ERNIE-M (Ouyang et al. 2021) and ernie-tiny, as PaddleNLP has them: a sentencepiece model
cuts the text, and a vocabulary of its own numbers the pieces.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uer.errors import DataError
from uer.tokenizers.base import Frame
from uer.tokenizers.cut import CutTokenizer
from uer.tokenizers.sentence_piece import BOUNDARY, SpmModel
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import sound
from uer.tokenizers.vocab import Vocab, read_text

ALONE = frozenset(",;:.?!~，；：。？！《》【】")
"""signs that ERNIE-M takes out of a piece, as it does the characters U+4E00 to U+9FFF"""
WORDS_NAME = "dict.wordseg.txt"
LONGEST = 5
"""characters of the longest word that ernie-tiny looks for"""


class _OverPieces(CutTokenizer):
    """What both have in common.

    Args:
        vocab: numbers the pieces. model: cuts the text.
    """

    def __init__(self, vocab: Vocab, model: SpmModel, **settings: Any) -> None:
        super().__init__(vocab, **settings)
        self.model = model

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """Text from pieces."""
        return "".join(tokens).replace(BOUNDARY, " ").strip()

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        return {**super().files(), "spm_model_path": ("spm.model", self.model.content)}


class ErnieMTokenizer(_OverPieces):
    """ERNIE-M's: Chinese characters and some signs stand alone, digits apart from what is none, and a blank
    is no token. A pair is `[CLS] a [SEP] [SEP] b [SEP]`.
    """

    name = "ernie_m"

    def __init__(
        self,
        vocab: Vocab,
        model: SpmModel,
        *,
        special: SpecialTokens | None = None,
        do_lower_case: bool = False,
        size: int = 0,
    ) -> None:
        super().__init__(vocab, model, special=special, do_lower_case=do_lower_case, size=size)
        self._known: dict[str, tuple[str, ...]] = {BOUNDARY: ()}

    @property
    def frame(self) -> Frame:
        """See `Tokenizer.frame`."""
        return Frame((self.cls_id,), (self.sep_id, self.sep_id), (self.sep_id,), self.cls_id)

    def cut(self, text: str) -> list[str]:
        """See `CutTokenizer.cut`."""
        out: list[str] = []
        for piece in self.model.encode([text], str)[0]:
            if piece not in self._known:
                self._known[piece] = tuple(_apart(piece))
            out += self._known[piece]
        return out

    def encode_placed(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """See `Tokenizer.encode_placed`: tokens are looked for one behind another in the text as NFKC has it,
        without blanks.
        """
        return [self._placed(sound(text)) for text in texts]

    def _placed(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        tokens = self.tokenize(text)
        plain, of = _plain(text.lower() if self.do_lower_case else text)
        places, at = [], 0
        for token in tokens:
            bare = token.removeprefix(BOUNDARY)
            found = plain.find(bare, at)
            start = at if found < 0 else found  # where the model writes otherwise than NFKC
            at = min(start + len(bare), len(of))
            first = min(start, len(of) - 1)
            places.append((of[first], of[max(at - 1, first)] + 1) if of else (0, 0))
        ids = self.convert_tokens_to_ids(tokens)
        return np.array(ids, np.int32), np.array(places, np.int64).reshape(-1, 2)


def _plain(text: str) -> tuple[str, list[int]]:
    """A text in NFKC, but for the wide tilde, without blanks; and what character each of it stands for."""
    out, of = "", []
    for number, char in enumerate(text):
        plain = char if char == "\uff5e" else unicodedata.normalize("NFKC", char)
        plain = "".join(plain.split())
        out += plain
        of += [number] * len(plain)
    return out, of


def _apart(piece: str) -> list[str]:
    """A piece cut around what stands alone, and where digits and other characters meet."""
    out, run = [], ""
    for number, char in enumerate(piece):
        alone = char in ALONE or "\u4e00" <= char <= "\u9fff"
        meets = number > 0 and char != BOUNDARY and char.isdigit() != piece[number - 1].isdigit()
        if alone or meets:
            out += [run] if run not in ("", BOUNDARY) else []
            run = ""
        if alone:
            out.append(char)
        else:
            run += char
    return [*out, run] if run else out


class ErnieTinyTokenizer(_OverPieces):
    """ernie-tiny's: the longest words of a list, from left to right, blanks between them, lower-cased, and
    then cut into pieces. What is not in the list stands alone.

    Args:
        words: the list.
    """

    name = "ernie_tiny"

    def __init__(
        self,
        vocab: Vocab,
        model: SpmModel,
        words: frozenset[str],
        *,
        special: SpecialTokens | None = None,
        do_lower_case: bool = True,
        size: int = 0,
    ) -> None:
        super().__init__(vocab, model, special=special, do_lower_case=do_lower_case, size=size)
        self.words = words

    def cut(self, text: str) -> list[str]:
        """See `CutTokenizer.cut`."""
        words = [word for word in self._words(text) if word != " "]
        return self.model.encode([" ".join(words).lower()], str)[0]

    def _words(self, text: str) -> list[str]:
        out, at = [], 0
        while at < len(text):
            ends = range(min(LONGEST, len(text) - at), 0, -1)
            length = next((size for size in ends if text[at : at + size] in self.words), 1)
            out.append(text[at : at + length])
            at += length
        return out

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        listed = "".join(f"{word}\n" for word in sorted(self.words))
        return {**super().files(), "words_path": (WORDS_NAME, listed.encode("utf-8"))}


def read_words(path: str | Path) -> frozenset[str]:
    """The list of words of ernie-tiny, one a line.

    Raises:
        DataError: there is none; or it only is there as a pickle.
    """
    path = Path(path)
    if not path.exists() and (pickled := path.with_suffix(".pickle")).exists():
        raise DataError(
            f"is missing, and {pickled.name} is a pickle, which is not opened because it can run code; if "
            'you trust it, write its words one a line: python3 -c "import pickle; '
            f"print('\\n'.join(pickle.load(open('{pickled.name}', 'rb'))))\" > {path.name}",
            path=path,
        )
    text = read_text(path, "the list of words of ernie_tiny", "--spm_model_path (it lies beside)")
    return frozenset(filter(None, text.split("\n")))
