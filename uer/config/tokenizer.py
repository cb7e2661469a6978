"""Which tokenizer, from which files."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, option
from uer.errors import ConfigError

TOKENIZERS = ("bert", "bpe", "char", "space", "xlmroberta", "jieba")
TOKENIZERS += ("ernie_m", "ernie_tiny", "mecab", "mecab_char")
NUMBERED = ("ernie_m", "ernie_tiny")
"""a sentencepiece model cuts the text, and a vocabulary numbers the pieces"""


@dataclass(frozen=True)
class TokenizerOptions(Options):
    """The source tokenizer."""

    tokenizer: str = option("bert", "how text becomes tokens", choices=TOKENIZERS)
    vocab_path: str | None = option(
        None, "vocabulary file, one token a line; or a model's folder with its tokenizer", metavar="FILE"
    )
    spm_model_path: str | None = option(None, "sentencepiece model", metavar="FILE")
    merges_path: str | None = option(None, "merges of a byte-level BPE", metavar="FILE")
    do_lower_case: bool = option(True, "true or false: lower-case, and strip accents (bert, jieba)")

    def check(self) -> None:
        """Files that the tokenizer has no use for, or lacks."""
        if self.merges_path and self.tokenizer != "bpe":
            raise ConfigError(f"--merges_path needs --tokenizer bpe, not {self.tokenizer}.")
        if self.vocab_path and self.spm_model_path and self.tokenizer not in NUMBERED:
            raise ConfigError("--vocab_path and --spm_model_path are both given; name one of them.")


@dataclass(frozen=True)
class TargetTokenizerOptions(Options):
    """The tokenizer of the target side (machine translation)."""

    tgt_tokenizer: str = option("bert", "how target text becomes tokens", choices=TOKENIZERS)
    tgt_vocab_path: str | None = option(None, "target vocabulary file", metavar="FILE")
    tgt_spm_model_path: str | None = option(None, "target sentencepiece model", metavar="FILE")
    tgt_merges_path: str | None = option(None, "target merges of a byte-level BPE", metavar="FILE")
    tgt_do_lower_case: bool = option(True, "true or false: lower-case the target side (bert)")

    def source_form(self) -> TokenizerOptions:
        """The same choices under the names of `TokenizerOptions`."""
        return TokenizerOptions(**{name.removeprefix("tgt_"): getattr(self, name) for name in self.names()})
