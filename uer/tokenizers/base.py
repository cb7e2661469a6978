"""What every tokenizer offers: text to ids, one or many, ids to text, a fingerprint, a folder to live in."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uer.errors import DataError
from uer.tokenizers.special import KNOWN, MAP_NAME, SpecialTokens
from uer.tokenizers.vocab import Vocab
from uer.utils.files import atomic_write

CONFIG_NAME = "tokenizer_config.json"


@dataclass(frozen=True)
class Frame:
    """The ids that stand around texts.

    Attributes:
        before: in front of the first text.
        between: between a text and the second one.
        after: behind the last text.
        start: what a decoder's text begins with.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    start: int


class Tokenizer(ABC):
    """Text ↔ ids. No special tokens are added: what goes around a text is up to whoever builds instances.

    Args:
        vocab: the tokens in id order.
        special: the special tokens; None picks BERT's or XLM-R's, whichever the vocabulary holds.

    Attributes:
        name: its name under `--tokenizer`.
        vocab: tokens and ids.
        special: the special tokens, all of which the vocabulary holds.
        unk_id, cls_id, sep_id, mask_id, pad_id: their ids.
        sentinel_ids: ids of `<extra_id_0>`, `<extra_id_1>` … as far as the vocabulary holds them without a
            gap.
        special_ids: the five ids, as a set.
        released: how it cuts text belongs to a release; tasks that cut in a way of their own leave it to it.

    Raises:
        DataError: the vocabulary lacks a special token.
    """

    name: str
    released = False

    def __init__(self, vocab: Vocab, special: SpecialTokens | None = None) -> None:
        self.vocab = vocab
        self.special = special or _special_of(vocab)
        ids = {}
        for role, token in self.special.required().items():
            if token not in vocab:
                raise DataError(
                    f"the vocabulary lacks the {role} token '{token}'; add it to the file, or name the "
                    "tokens that it uses instead in a special_tokens_map.json.",
                    path=vocab.path,
                )
            ids[role] = vocab.index[token]
        self.unk_id: int = ids["unk"]
        self.cls_id: int = ids["cls"]
        self.sep_id: int = ids["sep"]
        self.mask_id: int = ids["mask"]
        self.pad_id: int = ids["pad"]
        self.special_ids: frozenset[int] = frozenset(ids.values())
        self.sentinel_ids: list[int] = _sentinels(vocab, self.special.sentinel)

    def __len__(self) -> int:
        return len(self.vocab)

    @property
    def frame(self) -> Frame:
        """What stands around texts: `[CLS] a [SEP]`, `[CLS] a [SEP] b [SEP]`; a decoder begins at `[CLS]`."""
        return Frame((self.cls_id,), (self.sep_id,), (self.sep_id,), self.cls_id)

    @property
    def names(self) -> dict[str, str]:
        """The special tokens by Hugging Face's names for them (`cls_token`, …)."""
        return {f"{role}_token": token for role, token in self.special.required().items()}

    @property
    def opening(self) -> tuple[int, ...]:
        """What a text that is scored begins with: what stands in front of texts, where nothing does the bos
        token, if there is one (GPT-2).
        """
        bos = self.names.get("bos_token")
        return self.frame.before or ((self.vocab.index[bos],) if bos in self.vocab else ())

    @property
    def vocab_size(self) -> int:
        """Number of entries of the vocabulary, blank and repeated ones included."""
        return len(self.vocab)

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of many texts, the fast way.

        Returns:
            ids: int32 [N], the ids of all texts one after another.
            offsets: int64 [n + 1]; text `i` has `ids[offsets[i]:offsets[i + 1]]`.
        """

    def encode_words(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """As `encode_batch`, for words of a text with blanks between them."""
        return self.encode_batch(words)

    def encode(self, text: str) -> list[int]:
        """The ids of one text."""
        return self.encode_batch([text])[0].tolist()

    def encode_placed(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """The ids of each text [T] and the characters [start, stop) of each id [T, 2]; None where the
        tokenizer does not know them.
        """
        return None

    def tokenize(self, text: str) -> list[str]:
        """The tokens of one text; what the vocabulary lacks is the unknown token."""
        return self.convert_ids_to_tokens(self.encode(text))

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token, that of the unknown token where the vocabulary lacks it."""
        index, unknown = self.vocab.index, self.unk_id
        return [index.get(token, unknown) for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """The token of each id."""
        tokens = self.vocab.tokens
        return [tokens[number] for number in ids]

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Readable text; `skip_special` leaves out cls, sep, mask and pad tokens (unknowns stay visible)."""
        if skip_special:
            hidden = self.special_ids - {self.unk_id}
            ids = [number for number in ids if number not in hidden]
        return self.join_tokens(self.convert_ids_to_tokens(ids))

    @abstractmethod
    def join_tokens(self, tokens: Sequence[str]) -> str:
        """Readable text from tokens."""

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `build_tokenizer` beyond files and name, as JSON values."""
        return {}

    @abstractmethod
    def files(self) -> dict[str, tuple[str, bytes]]:
        """Argument of `build_tokenizer` → (file name in a saved folder, content)."""

    def fingerprint(self) -> str:
        """SHA-256 over all that changes ids: kind, settings, files, special tokens."""
        digest = hashlib.sha256(self.name.encode())
        digest.update(json.dumps([self.settings(), self.special.to_map()], sort_keys=True).encode())
        for argument, (_, content) in sorted(self.files().items()):
            digest.update(f"\0{argument}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write everything that `load_tokenizer(folder)` needs."""
        folder = Path(folder)
        files = self.files()
        for file_name, content in files.values():
            with atomic_write(folder / file_name, "wb") as file:
                file.write(content)
        self.special.save(folder / MAP_NAME)
        config = {
            "uer_tokenizer": self.name,
            **self.settings(),
            **{argument: file_name for argument, (file_name, _) in files.items()},
            "fingerprint": self.fingerprint(),
        }
        with atomic_write(folder / CONFIG_NAME) as file:
            json.dump(config, file, ensure_ascii=False, indent=2)
            file.write("\n")


def _special_of(vocab: Vocab) -> SpecialTokens:
    """The known set of special tokens that the vocabulary holds; BERT's when it holds none of them wholly."""
    for special in KNOWN:
        if all(token in vocab for token in special.required().values()):
            return special
    return KNOWN[0]


def _sentinels(vocab: Vocab, first: str | None) -> list[int]:
    """Ids of the numbered tokens that begin with `first`."""
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", first or "")
    if match is None:
        return [vocab.index[first]] if first in vocab.index else []
    before, number, after = match[1], int(match[2]), match[3]
    ids = []
    while (token := f"{before}{number}{after}") in vocab:
        ids.append(vocab.index[token])
        number += 1
    return ids
