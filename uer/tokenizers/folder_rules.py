"""Tokenizers of folders whose rules no pipeline of the `tokenizers` library has: ERNIE-M's, ernie-tiny's, and
those of BERT for Japanese.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.ernie import WORDS_NAME, ErnieMTokenizer, ErnieTinyTokenizer, read_words
from uer.tokenizers.mecab_words import DICTIONARIES, MecabCharTokenizer, MecabTokenizer
from uer.tokenizers.sentence_piece import SpmModel
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.vocab import Vocab

MODELS = {
    "spm_cased_simp_sampled.model": ErnieTinyTokenizer,
    "sentencepiece.bpe.model": ErnieMTokenizer,
}
"""a sentencepiece model beside a vocabulary that numbers its pieces → the tokenizer"""
JAPANESE = {"wordpiece": MecabTokenizer, "character": MecabCharTokenizer}
"""how BertJapaneseTokenizer cuts words → the tokenizer"""


class Known:
    """A vocabulary, asked for ids as a pipeline is."""

    def __init__(self, vocab: Vocab) -> None:
        self.token_to_id = vocab.index.get


def of_rules(
    folder: Path,
    kind: str,
    settings: Mapping[str, Any],
    size: Any,
    special: Callable[[Known], SpecialTokens],
) -> Tokenizer | None:
    """The tokenizer of such a folder; None for any other.

    Args:
        kind: its class, as `uer.tokenizers.folder_files` calls it. settings: its tokenizer_config.json.
        size: rows of the model's table, if they are known. special: a vocabulary → its special tokens.

    Raises:
        DataError: BERT for Japanese whose text is cut by another program than MeCab.
    """
    words = folder / "vocab.txt"
    if not words.is_file() or kind == "xlmroberta":
        return None
    spm = next((folder / name for name in MODELS if (folder / name).is_file()), None)
    if spm is None and kind != "bertjapanese":
        return None
    vocab = Vocab.load(words)
    more: dict[str, Any] = {"special": special(Known(vocab))}
    more["size"] = size if isinstance(size, int) else 0
    lower = settings.get("do_lower_case")
    if spm is None:
        # The models of the first years do not name theirs.
        dictionary = (settings.get("mecab_kwargs") or {}).get("mecab_dic") or DICTIONARIES[0]
        kind = _japanese(settings, folder)
        return kind(vocab, dictionary=dictionary, do_lower_case=bool(lower), **more)
    model = SpmModel.load(spm)
    if MODELS[spm.name] is ErnieMTokenizer:
        return ErnieMTokenizer(vocab, model, do_lower_case=bool(lower), **more)
    listed = read_words(folder / WORDS_NAME)
    return ErnieTinyTokenizer(vocab, model, listed, do_lower_case=lower is None or bool(lower), **more)


def _japanese(settings: Mapping[str, Any], folder: Path) -> type[MecabTokenizer]:
    word = settings.get("word_tokenizer_type", "basic")
    piece = settings.get("subword_tokenizer_type", "wordpiece")
    if word != "mecab" or piece not in JAPANESE:
        raise DataError(
            f"cuts text by '{word}' and words by '{piece}'; supported are mecab, and "
            f"{' or '.join(JAPANESE)}.",
            path=folder / "tokenizer_config.json",
        )
    return JAPANESE[piece]
