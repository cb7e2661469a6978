"""The tokenizer of a run: the saved model's own, or the one that the flags describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from uer.config.tokenizer import TargetTokenizerOptions, TokenizerOptions
from uer.errors import ConfigError, DataError
from uer.utils.logging import logger

if TYPE_CHECKING:
    from uer.cli import Chosen
    from uer.data.objectives.base import TokenIds
    from uer.tokenizers.base import Tokenizer


def chosen_tokenizer(chosen: Chosen) -> Tokenizer:
    """The source tokenizer: that of the companion folder where there is one, else that of the flags.

    Raises:
        ConfigError: no tokenizer is named anywhere, or typed flags describe another one than the companion.
        DataError: a file is missing or at fault.
    """
    folder = None if chosen.companion is None else chosen.companion.tokenizer
    typed = {name: chosen.written[name] for name in TokenizerOptions.names() if name in chosen.written}
    return _tokenizer(folder, typed, chosen[TokenizerOptions], starts=chosen.starts)


def tokenizer_of_dataset(chosen: Chosen, made_with: TokenIds) -> Tokenizer:
    """As `chosen_tokenizer`; where no flag says how text was cut for a dataset, the dataset does.

    Args:
        made_with: what the dataset says of its tokenizer; the vocabulary is that of flags or companion.
    """
    tokenizer = chosen_tokenizer(chosen)
    if tokenizer.fingerprint() == made_with.fingerprint or "tokenizer" in chosen.written:
        return tokenizer
    for lower in dict.fromkeys((chosen[TokenizerOptions].do_lower_case, False)):
        alike = _cut_otherwise(chosen, tokenizer, {"tokenizer": made_with.name, "do_lower_case": lower})
        if alike is not None and alike.fingerprint() == made_with.fingerprint:
            return alike
    return tokenizer


def _cut_otherwise(chosen: Chosen, tokenizer: Tokenizer, values: dict[str, Any]) -> Tokenizer | None:
    """The same vocabulary in a tokenizer of another kind; None where there is no such tokenizer."""
    from uer.tokenizers import build_tokenizer

    options = chosen[TokenizerOptions]
    files = {name: getattr(options, name) for name in ("vocab_path", "spm_model_path", "merges_path")}
    try:
        if any(files.values()):
            alike = _build(build_tokenizer, {**files, **values})
        else:
            alike = _typed_again(tokenizer, chosen.companion.tokenizer, values)
    except (ConfigError, DataError):
        return None
    return alike if alike.vocab.tokens == tokenizer.vocab.tokens else None


def chosen_target_tokenizer(chosen: Chosen, source: Tokenizer) -> Tokenizer:
    """As `chosen_tokenizer`, for the target side; where nothing names one it is `source`."""
    folder = None if chosen.companion is None else chosen.companion.tgt_tokenizer
    names = TargetTokenizerOptions.names()
    typed = {name.removeprefix("tgt_"): chosen.written[name] for name in names if name in chosen.written}
    options = chosen[TargetTokenizerOptions].source_form()
    if folder is None and not (options.vocab_path or options.spm_model_path):
        return source
    return _tokenizer(folder, typed, options, "tgt_")


def _tokenizer(
    folder: Path | None,
    typed: dict[str, Any],
    options: TokenizerOptions,
    prefix: str = "",
    *,
    starts: bool = False,
) -> Tokenizer:
    from uer.tokenizers import build_tokenizer, load_tokenizer

    if options.vocab_path and Path(options.vocab_path).is_dir():
        # A model's folder brings its tokenizer; beside another model's it must be the same.
        named = Path(options.vocab_path)
        if folder is None or load_tokenizer(named).fingerprint() == load_tokenizer(folder).fingerprint():
            folder, typed = named, {name: x for name, x in typed.items() if name != "vocab_path"}
    if folder is None:
        return _build(build_tokenizer, {name: getattr(options, name) for name in options.names()})
    saved = load_tokenizer(folder)
    if not typed:
        return saved
    alike = _typed_pieces(saved, typed) if saved.name == "folder" else _typed_again(saved, folder, typed)
    if alike is None or (saved.name != "folder" and alike.fingerprint() != saved.fingerprint()):
        flags = ", ".join(f"--{prefix}{name} {_word(value)}" for name, value in typed.items())
        if starts and alike is not None and alike.vocab.tokens == saved.vocab.tokens:
            logger.info("%s: text is cut as typed, otherwise than by the model that is started from.", flags)
            return alike
        raise ConfigError(
            f"{flags} is another tokenizer than the saved model's own ({folder}); "
            "leave the tokenizer flags out: the companion folder brings it."
        )
    return alike


def _typed_pieces(saved: Tokenizer, typed: dict[str, Any]) -> Tokenizer | None:
    """BERT's own tokenizer, if flags describe it and a folder's has its words and frame."""
    from uer.tokenizers.vocab import Vocab

    pieces = saved.word_pieces()
    if pieces is None or saved.frame != pieces.frame:
        return None
    known = {"tokenizer": pieces.name, **pieces.settings()}
    if any(known.get(name) != value for name, value in typed.items() if name != "vocab_path"):
        return None
    words = Vocab.load(typed["vocab_path"]).tokens if "vocab_path" in typed else saved.vocab.tokens
    return pieces if words == saved.vocab.tokens else None


def _typed_again(saved: Tokenizer, folder: Path, typed: dict[str, Any]) -> Tokenizer:
    """The tokenizer that typed flags describe, laid over what a saved one says of itself."""
    from uer.tokenizers import build_tokenizer

    values = {"tokenizer": saved.name, **saved.settings(), "special_tokens_map": folder, **typed}
    if not typed.keys() & {"vocab_path", "spm_model_path", "merges_path"}:
        # Only how the text is cut was typed: with the saved files it must be the same tokenizer.
        values = {**{name: folder / file for name, (file, _) in saved.files().items()}, **values}
    return _build(build_tokenizer, values)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _build(build: Any, values: dict[str, Any]) -> Tokenizer:
    values = dict(values)
    return build(values.pop("tokenizer"), **values)
