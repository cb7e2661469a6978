"""Our tokenizers as pipelines of the `tokenizers` library, whose `tokenizer.json` Hugging Face's classes
read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uer.errors import ConfigError
from uer.tokenizers.base import Tokenizer
from uer.utils.files import atomic_write

if TYPE_CHECKING:
    import tokenizers

    from uer.tokenizers.sentence_piece import SpmModel

JSON_NAME = "tokenizer.json"
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
UNIGRAM = 1  # sentencepiece's number for its model type


def pipeline_of(tokenizer: Tokenizer, *, framed: bool = True, types: bool = True) -> tokenizers.Tokenizer:
    """The pipeline that gives a tokenizer's ids.

    A few things differ by the library's design: special tokens written in a text are taken for special
    tokens; two blanks in a row hold no unknown word for `space`; of a sentencepiece model, a number that ends
    in a comma is not cut again (`uer.tokenizers.sentence_piece`), and of two cuts that are equally likely it
    may take the other.

    Args:
        framed: put the cls token before and the sep token behind a text, and behind the second of a pair; the
            tokenizer of a folder always puts what it has.
        types: the model tells first and second texts apart.

    Raises:
        ConfigError: a kind of tokenizer that the library cannot express.
    """
    saved = tokenizer.files()
    if tokenizer.name == "folder":
        return tokenizer.exported(types=types)
    if "spm_model_path" in saved and tokenizer.name in ("bert", "xlmroberta"):
        pipeline = unigram(tokenizer.model, tokenizer.vocab.tokens, tokenizer.unk_id)
    elif tokenizer.name == "bert":
        pipeline = word_pieces(
            tokenizer.vocab.tokens, tokenizer.special.unk, tokenizer.settings()["do_lower_case"]
        )
    elif tokenizer.name == "bpe":
        pipeline = byte_level(tokenizer.vocab.index, tokenizer.merges)
    elif tokenizer.name in ("char", "space"):
        pipeline = _words(tokenizer)
    else:
        raise ConfigError(f"a '{tokenizer.name}' tokenizer cannot be written as {JSON_NAME}.")
    add_special(pipeline, tokenizer.special.required().values())
    if framed and tokenizer.name != "bpe":
        surround(pipeline, tokenizer)
    return pipeline


def word_pieces(
    tokens: Sequence[str], unknown: str, lower: bool, *, accents: bool | None = None, chinese: bool = True
) -> tokenizers.Tokenizer:
    """BERT's pipeline over a vocabulary.

    Args:
        lower: capital letters become small ones.
        accents: they are taken off; None: with capitals.
        chinese: Chinese characters are words of their own.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    index = {token: number for number, token in enumerate(tokens) if token}
    pipeline = Tokenizer(models.WordPiece(index, unk_token=unknown, max_input_chars_per_word=200))
    pipeline.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese,
        strip_accents=lower if accents is None else accents,
        lowercase=lower,
    )
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pipeline.decoder = decoders.WordPiece()
    return pipeline


def byte_level(index: dict[str, int], merges: Iterable[tuple[str, str]]) -> tokenizers.Tokenizer:
    """GPT-2's pipeline."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pipeline = Tokenizer(models.BPE(vocab=index, merges=list(merges)))
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    return pipeline


def _words(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """Whole characters, or words between single blanks."""
    from tokenizers import Regex, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Pipeline

    pipeline = Pipeline(models.WordLevel(tokenizer.vocab.index, unk_token=tokenizer.special.unk))
    pipeline.normalizer = normalizers.Strip()
    pipeline.pre_tokenizer = (
        pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        if tokenizer.name == "char"
        else pre_tokenizers.Split(" ", "removed")
    )
    return pipeline


def unigram(
    model: SpmModel, tokens: Sequence[str], unknown: int, cleaning: Sequence[Any] = ()
) -> tokenizers.Tokenizer:
    """Sentencepiece's unigram model.

    Args:
        tokens: in the order of the ids; those that are no pieces of the model have the score 0.
        unknown: the id of the unknown token.
        cleaning: normalisers of the library that come before the model's own.

    Raises:
        ConfigError: another kind of sentencepiece model.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    spec = read_spec(model.content)
    if spec["model_type"] != UNIGRAM:
        raise ConfigError(
            f"{model.path}: only unigram sentencepiece models can be written as {JSON_NAME}, this is "
            "another kind."
        )
    processor, known = model.processor, set(model.pieces)
    pieces = [
        (token, processor.get_score(processor.piece_to_id(token)) if token in known else 0.0)
        for token in tokens
    ]
    pipeline = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=bool(spec["byte_fallback"])))
    steps = [*cleaning, *([normalizers.Precompiled(spec["charsmap"])] if spec["charsmap"] else [])]
    if spec["remove_extra_whitespaces"]:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    pipeline.normalizer = normalizers.Sequence(steps)
    scheme = "always" if spec["add_dummy_prefix"] else "never"
    pipeline.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    pipeline.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return pipeline


def add_special(pipeline: tokenizers.Tokenizer, tokens: Iterable[str]) -> None:
    """Mark tokens that are never cut and never part of a text."""
    from tokenizers import AddedToken

    pipeline.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in dict.fromkeys(tokens)]
    )


def surround(pipeline: tokenizers.Tokenizer, tokenizer: Tokenizer) -> None:
    """What a tokenizer puts around texts (`Tokenizer.frame`), with token types 0 and 1 for a pair."""
    from tokenizers import processors

    around = tokenizer.frame
    before, between, after = map(
        tokenizer.convert_ids_to_tokens, (around.before, around.between, around.after)
    )
    first = [f"{token}:0" for token in before] + ["$A:0"]
    second = [*(f"{token}:0" for token in between), "$B:1", *(f"{token}:1" for token in after)]
    pipeline.post_processor = processors.TemplateProcessing(
        single=[*first, *(f"{token}:0" for token in after)],
        pair=first + second,
        special_tokens=[
            (token, tokenizer.vocab.index[token]) for token in dict.fromkeys((*before, *between, *after))
        ],
    )


def save_for_transformers(
    tokenizer: Tokenizer,
    folder: str | Path,
    max_length: int,
    *,
    framed: bool = True,
    types: bool = True,
    generates: bool = False,
) -> None:
    """Write the files from which `AutoTokenizer` makes a tokenizer with the same ids.

    Args:
        max_length: positions of the model, which their tokenizer cuts texts at when asked to.
        framed: see `pipeline_of`.
        types: the model takes token types; a model that takes none must not be given any.
        generates: the model writes texts, which begin with a bos token and end with an eos token.
    """
    folder = Path(folder)
    special, names = tokenizer.special, dict(tokenizer.names)
    names.setdefault("pad_token", special.pad)  # GPT-2's has none, and could not fill up a batch
    if generates and tokenizer.name != "folder":
        names.update(bos_token=special.cls, eos_token=special.sep)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": INPUTS if types else [name for name in INPUTS if name != "token_type_ids"],
        **names,
    }
    pipeline = pipeline_of(tokenizer, framed=framed, types=types)
    with atomic_write(folder / JSON_NAME) as file:
        file.write(pipeline.to_str(pretty=True))
    for name, values in (("tokenizer_config.json", config), ("special_tokens_map.json", names)):
        with atomic_write(folder / name) as file:
            json.dump(values, file, ensure_ascii=False, indent=2)
            file.write("\n")
    for argument, (name, content) in tokenizer.files().items():
        if argument == "vocab_path" and name == "vocab.txt":
            (folder / name).write_bytes(content)


def read_spec(model: bytes) -> dict[str, Any]:
    """What a sentencepiece model file says about its kind and its normalisation
    (`sentencepiece_model.proto`).
    """
    spec: dict[str, Any] = {
        "model_type": UNIGRAM,
        "byte_fallback": False,
        "charsmap": b"",
        "add_dummy_prefix": True,
        "remove_extra_whitespaces": True,
    }
    trainer = {3: "model_type", 35: "byte_fallback"}
    normalizer = {2: "charsmap", 3: "add_dummy_prefix", 4: "remove_extra_whitespaces"}
    for number, value in _fields(model):
        names = {2: trainer, 3: normalizer}.get(number, {})
        if names:
            spec.update({names[inner]: content for inner, content in _fields(value) if inner in names})
    return spec


def _fields(message: bytes) -> Iterable[tuple[int, Any]]:
    """The numbered fields of a protocol buffer: integers, and the bytes of strings and messages."""
    place = 0

    def integer() -> int:
        """The number at `place`, seven bits a byte, lowest first."""
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(message):
        key = integer()
        kind = key & 7
        if kind == 0:
            yield key >> 3, integer()
        elif kind == 2:
            size = integer()
            yield key >> 3, message[place : place + size]
            place += size
        else:
            place += 4 if kind == 5 else 8
