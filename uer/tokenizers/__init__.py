"""Text to ids and back, by the names of `--tokenizer`. Importing it imports no library behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uer.errors import ConfigError, DataError, pick
from uer.utils.lazy import load

if TYPE_CHECKING:
    from uer.tokenizers.base import Tokenizer
    from uer.tokenizers.cut import CutTokenizer
    from uer.tokenizers.folder import FolderTokenizer
    from uer.tokenizers.special import SpecialTokens

TOKENIZERS = {
    "bert": "uer.tokenizers.bert:BertTokenizer",
    "bpe": "uer.tokenizers.bpe:BpeTokenizer",
    "char": "uer.tokenizers.char:CharTokenizer",
    "space": "uer.tokenizers.space:SpaceTokenizer",
    "xlmroberta": "uer.tokenizers.sentence_piece:XlmRobertaTokenizer",
    "jieba": "uer.tokenizers.jieba_words:JiebaTokenizer",
    "ernie_m": "uer.tokenizers.ernie:ErnieMTokenizer",
    "ernie_tiny": "uer.tokenizers.ernie:ErnieTinyTokenizer",
    "mecab": "uer.tokenizers.mecab_words:MecabTokenizer",
    "mecab_char": "uer.tokenizers.mecab_words:MecabCharTokenizer",
}
# With --spm_model_path the pieces of the model are the vocabulary; `bert` then also cuts the text as the
# model does.
_WITH_SPM = {"bert": "uer.tokenizers.sentence_piece:SentencePieceTokenizer"}
# Those whose vocabulary numbers the pieces of a model, and those over a vocabulary of words.
_NUMBERED = ("ernie_m", "ernie_tiny")
_OF_WORDS = ("jieba", "mecab", "mecab_char")

# What a saved tokenizer may say besides its files (`Tokenizer.settings`).
SETTINGS = ("do_lower_case", "size", "frame", "names", "dictionary")


def build_tokenizer(
    name: str = "bert",
    *,
    vocab_path: str | Path | None = None,
    spm_model_path: str | Path | None = None,
    merges_path: str | Path | None = None,
    do_lower_case: bool = True,
    special_tokens_map: str | Path | SpecialTokens | None = None,
    words_path: str | Path | None = None,
    **settings: Any,
) -> Tokenizer:
    """The tokenizer that the flags describe.

    Args:
        name: one of `TOKENIZERS`.
        vocab_path: vocabulary file, one token a line.
        spm_model_path: sentencepiece model; its pieces are the vocabulary.
        merges_path: merges of a byte-level BPE (bpe only).
        do_lower_case: lower-case and strip accents (bert with a vocabulary file only).
        special_tokens_map: a `special_tokens_map.json` or its folder; None: BERT's or XLM-R's tokens,
            whichever the vocabulary holds.
        words_path: the list of words of ernie_tiny; None: it lies beside the sentencepiece model.
        settings: what a saved tokenizer is besides (`Tokenizer.settings`).

    Raises:
        ConfigError: unknown name, or files that do not go together; the message names the flags.
        DataError: a file is missing or at fault.
    """
    target = pick(name, TOKENIZERS, "--tokenizer")
    _check_files(name, vocab_path, spm_model_path, merges_path)
    from uer.tokenizers.special import SpecialTokens
    from uer.tokenizers.vocab import Vocab

    special = special_tokens_map
    if special is not None and not isinstance(special, SpecialTokens):
        special = SpecialTokens.load(special)
    if name in ("mecab", "mecab_char"):
        vocab = Vocab.load(vocab_path)
        return load(target)(vocab, special=special, do_lower_case=do_lower_case, **settings)
    if name in _NUMBERED:
        parts = _pieces(name, vocab_path, spm_model_path, words_path)
        return load(target)(*parts, special=special, do_lower_case=do_lower_case, **settings)
    assert not settings, settings  # no other one has any
    if name == "bpe":
        return load(target)(Vocab.load(vocab_path), merges_path=merges_path, special=special)
    if spm_model_path is not None:
        from uer.tokenizers.sentence_piece import SpmModel

        model = SpmModel.load(spm_model_path)
        if name in ("char", "space"):
            return load(target)(model.vocab(), special=special, model=model)
        return load(_WITH_SPM.get(name, target))(model, special=special)
    vocab = Vocab.load(vocab_path)
    if name in ("bert", "jieba"):
        return load(target)(vocab, special=special, do_lower_case=do_lower_case)
    return load(target)(vocab, special=special)


def _pieces(
    name: str, vocab_path: str | Path, spm_model_path: str | Path, words_path: str | Path | None
) -> list[Any]:
    """The files of a tokenizer whose vocabulary numbers the pieces of a sentencepiece model."""
    from uer.tokenizers.ernie import WORDS_NAME, read_words
    from uer.tokenizers.sentence_piece import SpmModel
    from uer.tokenizers.vocab import Vocab

    parts: list[Any] = [Vocab.load(vocab_path), SpmModel.load(spm_model_path)]
    if name == "ernie_tiny":
        parts.append(read_words(words_path or Path(spm_model_path).with_name(WORDS_NAME)))
    return parts


def _check_files(name: str, vocab_path: object, spm_model_path: object, merges_path: object) -> None:
    """Combinations of file flags that make no sense."""
    if name in _NUMBERED:
        if vocab_path is None or spm_model_path is None:
            raise ConfigError(
                f"--tokenizer {name} needs --vocab_path and --spm_model_path: the one numbers the pieces of "
                "the other."
            )
    elif vocab_path is not None and spm_model_path is not None:
        raise ConfigError("--vocab_path and --spm_model_path are both given; name one of them.")
    if merges_path is not None and name != "bpe":
        raise ConfigError(f"--merges_path needs --tokenizer bpe, not {name}.")
    if name == "bpe":
        if spm_model_path is not None:
            raise ConfigError("--tokenizer bpe takes --vocab_path and --merges_path, not --spm_model_path.")
        missing = [
            flag
            for flag, path in (("--vocab_path", vocab_path), ("--merges_path", merges_path))
            if path is None
        ]
        if missing:
            raise ConfigError(f"--tokenizer bpe needs {' and '.join(missing)}.")
    elif name in _OF_WORDS:
        if vocab_path is None:
            raise ConfigError(f"--tokenizer {name} needs --vocab_path, a vocabulary that holds words.")
    elif name == "xlmroberta":
        if spm_model_path is None:
            raise ConfigError("--tokenizer xlmroberta needs --spm_model_path, a sentencepiece model.")
    elif vocab_path is None and spm_model_path is None:
        raise ConfigError(f"--tokenizer {name} needs --vocab_path or --spm_model_path.")


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote into `folder`, or that of a Hugging Face model there.

    Raises:
        DataError: no such folder, no tokenizer in it, or our own files were changed since.
    """
    folder = Path(folder)
    path = folder / "tokenizer_config.json"
    config = _saved_config(path)
    if config is None:
        from uer.tokenizers.folder_files import load_folder_tokenizer

        return load_folder_tokenizer(folder)
    try:
        name = config.pop("uer_tokenizer")
        fingerprint = config.pop("fingerprint")
        files = {key: folder / config.pop(key) for key in list(config) if key.endswith("_path")}
        settings = {key: config.pop(key) for key in SETTINGS if key in config}
        if config or not files:
            raise KeyError(*config)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "was not written by this program; give the tokenizer's files by flags (--vocab_path …).",
            path=path,
        ) from error
    if name == "folder":
        from uer.tokenizers.folder import FolderTokenizer
        from uer.tokenizers.special import SpecialTokens

        source = files["vocab_path"]
        content, special = source.read_bytes(), SpecialTokens.load(folder)
        tokenizer: Tokenizer = FolderTokenizer(content, special, source, **settings)
    else:
        tokenizer = build_tokenizer(name, **files, **settings, special_tokens_map=folder)
    if tokenizer.fingerprint() != fingerprint:
        raise DataError(
            "the tokenizer's files were changed after they were saved, so ids would differ; restore them, or "
            f"remove the folder and give them by flags. Expected fingerprint {fingerprint[:12]}, got "
            f"{tokenizer.fingerprint()[:12]}.",
            path=folder,
        )
    return tokenizer


def recut(saved: FolderTokenizer | CutTokenizer, name: str) -> Tokenizer:
    """The tokens of a folder's tokenizer, with texts cut as `--tokenizer` NAME does.

    Raises:
        ConfigError: that kind needs more than a list of tokens.
    """
    if name == "bert" and (pieces := saved.word_pieces()) is not None:
        return pieces
    if name not in ("char", "space"):
        raise ConfigError(
            f"--tokenizer {name} cannot cut texts for {saved.vocab.path}; leave it out to cut them as the "
            "folder says, or choose char or space."
        )
    return load(TOKENIZERS[name])(saved.vocab, special=saved.special)


def _saved_config(path: Path) -> dict | None:
    """The configuration that `Tokenizer.save` wrote; None where there is none of ours.

    Raises:
        DataError: it is no JSON object.
    """
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"is not valid JSON ({error}); restore it.", path=path) from error
    return config if isinstance(config, dict) and "uer_tokenizer" in config else None
