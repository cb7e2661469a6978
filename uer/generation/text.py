"""Prompts from a file, and generated texts into one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from uer.data.readers import read_lines
from uer.errors import DataError
from uer.generation.generate import Generated, Generator
from uer.generation.search import Continuation
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.folder import FolderTokenizer


@dataclass(frozen=True)
class Prompt:
    """One line of the input."""

    line: str
    ids: list[int]


def prompt_ids(tokenizer: Tokenizer, text: str, *, separated: bool, blanks: bool = False) -> list[int]:
    """`[CLS] text`, and `[SEP]` behind it when `separated`; with `blanks` sentinels in it are themselves.

    The tokenizer of a Hugging Face folder puts around texts what it does there (`Tokenizer.frame`); where
    that is nothing and the text is empty, there is what a text begins with.
    """
    frame = tokenizer.frame
    ids = with_sentinels(tokenizer, text) if blanks else tokenizer.encode(text)
    return [*frame.before, *ids, *(frame.after if separated else ())] or [frame.start]


def with_sentinels(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text in which a person wrote T5's numbered blanks (`<extra_id_0>`).

    Tokenizers of vocabulary files cut special words in texts into letters; here a blank is one token. Those
    that know it (sentencepiece models, Hugging Face folders) read the whole text.
    """
    words = {tokenizer.vocab.tokens[number]: number for number in tokenizer.sentinel_ids}
    words = {word: number for word, number in words.items() if word in text}
    if all(number in tokenizer.encode(word) for word, number in words.items()):
        return tokenizer.encode(text)
    longest_first = sorted(words, key=len, reverse=True)  # extra1 is the beginning of extra10
    parts = re.split(f"({'|'.join(map(re.escape, longest_first))})", text)
    return [
        number for part in parts for number in ([words[part]] if part in words else tokenizer.encode(part))
    ]


def read_prompts(
    path: str | Path,
    tokenizer: Tokenizer,
    *,
    length: int,
    separated: bool,
    blanks: bool = False,
    to_write: int = 1,
) -> list[Prompt]:
    """Every line as a prompt (`prompt_ids`).

    Args:
        length: most ids.
        to_write: ids among them that must stay free.

    Raises:
        DataError: an unreadable or empty file, or a prompt that leaves no room.
    """
    prompts = []
    for number, line in read_lines(path):
        ids = prompt_ids(tokenizer, line, separated=separated, blanks=blanks)
        if len(ids) + to_write > length:
            behind = " and leaves none to generate" if to_write else ""
            raise DataError(
                f"the prompt has {len(ids)} tokens, --seq_length {length} counts them too{behind}; "
                "raise --seq_length or shorten the line.",
                path=path,
                line=number,
            )
        prompts.append(Prompt(line, ids))
    if not prompts:
        raise DataError("is empty; write one prompt a line.", path=path)
    return prompts


def read_allowed(path: str | Path, tokenizer: Tokenizer) -> list[int]:
    """The ids of the tokens in a file, one a line.

    Raises:
        DataError: an unreadable or empty file, or a token that the vocabulary lacks.
    """
    ids = []
    for number, line in read_lines(path):
        token = line.strip()
        if token and token not in tokenizer.vocab:
            raise DataError(
                f"the vocabulary has no token '{token}'; name its own tokens, one a line.",
                path=path,
                line=number,
            )
        if token:
            ids.append(tokenizer.vocab.index[token])
    if not ids:
        raise DataError("names no token; write one a line.", path=path)
    return ids


class Writer:
    """How prompts and their texts are put in a file.

    text: the line, and under it for each text all tokens joined, as UER writes them. jsonl: an object a text.
    Sentencepiece and byte-level tokens are joined into text; others stand as they are, `[CLS]` and `##` too.

    Args:
        output_format: "text" or "jsonl".
        start: ids that stand in front of the new ones in the text format; None: the prompt's.
    """

    def __init__(self, tokenizer: Tokenizer, output_format: str, start: Sequence[int] | None = None) -> None:
        self.tokenizer, self.start, self.json = tokenizer, start, output_format == "jsonl"
        if isinstance(tokenizer, FolderTokenizer):
            self.pieces = tokenizer.word_pieces() is not None
        else:
            self.pieces = tokenizer.name != "bpe" and "vocab_path" in tokenizer.files()

    def joined(self, ids: Sequence[int]) -> str:
        """The text of tokens in the text format."""
        tokens = self.tokenizer.convert_ids_to_tokens(ids)
        return "".join(tokens) if self.pieces else self.tokenizer.join_tokens(tokens)

    def before(self, prompt: Prompt) -> list[int]:
        """The ids in front of the new ones."""
        return list(prompt.ids if self.start is None else self.start)

    def block(self, prompt: Prompt, texts: Sequence[Generated]) -> str:
        """All texts of one prompt, without a line end behind the last line."""
        if self.json:
            return "\n".join(self._object(prompt, text) for text in texts)
        lines = [self.joined([*self.before(prompt), *text.ids]) + text.rest for text in texts]
        return "\n".join([prompt.line, *lines])

    def _object(self, prompt: Prompt, text: Generated) -> str:
        values: dict[str, object] = {
            "prompt": prompt.line,
            "text": text.text,
            "tokens": self.tokenizer.convert_ids_to_tokens(text.ids),
            "stopped": text.stopped,
        }
        if text.score is not None:
            values["score"] = text.score
        if text.log_probs is not None:
            values["log_probs"] = [round(value, 6) for value in text.log_probs]
        return json.dumps(values, ensure_ascii=False)

    def write(self, file: IO[str], prompts: Sequence[Prompt], texts: Iterable[Sequence[Generated]]) -> None:
        """Write all texts of all prompts; an empty line parts the blocks of the text format."""
        for number, (prompt, found) in enumerate(zip(prompts, texts)):
            block = self.block(prompt, found)
            file.write(f"{block}\n" if self.json else block if number == 0 else f"\n\n{block}")


def stream(
    generator: Generator, prompts: Sequence[Prompt], writer: Writer, screen: IO[str]
) -> Iterator[list[Generated]]:
    """The texts of each prompt, each shown on `screen` in the text format while it grows."""
    before: list[int] = []
    shown = 0

    def put(text: str) -> None:
        """Show what is new of a text."""
        nonlocal shown
        screen.write(text[shown:])
        screen.flush()
        shown = max(shown, len(text))

    def show(text: Continuation) -> None:
        """Show what is sure of a text that grows."""
        # What a stop string may still take away waits, and so does a character of which bytes are missing.
        if not text.stopped:
            put(writer.joined([*before, *generator.stopping.sure(text.ids)]).rstrip("\ufffd"))

    found = generator.shown([prompt.ids for prompt in prompts], show)
    for number, prompt in enumerate(prompts):
        before, shown = writer.before(prompt), 0
        screen.write(("\n" if number else "") + prompt.line + "\n")
        texts = next(found)
        put(writer.joined([*before, *texts[0].ids]) + texts[0].rest)
        screen.write("\n")
        yield texts
