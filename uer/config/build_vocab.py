"""What kind of vocabulary to make from which corpus."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, option, positive
from uer.errors import ConfigError

COUNTED = ("char", "space")
TRAINED = ("wordpiece", "bpe", "sentencepiece")


@dataclass(frozen=True)
class BuildVocabOptions(Options):
    """A vocabulary from a corpus."""

    corpus_path: str | None = option(
        None, "text, a document or sentence a line", required=True, metavar="FILE"
    )
    output_path: str | None = option(
        None, "vocabulary to write (sentencepiece: the model)", required=True, metavar="FILE"
    )
    delimiter: str | None = option(
        None, "count the characters, or what stands between blanks", choices=COUNTED
    )
    model_type: str | None = option(
        None, "the same by one flag, or pieces learnt from the corpus", choices=(*COUNTED, *TRAINED)
    )
    vocab_size: int | None = positive(
        None, "most entries, reserved ones included (default: all; pieces: 30000)"
    )
    min_count: int = positive(1, "leave out what comes less often")
    workers_num: int = positive(1, "processes (sentencepiece: threads)")
    merges_path: str | None = option(
        None, "merges to write (bpe; default: merges.txt beside the vocabulary)", metavar="FILE"
    )
    do_lower_case: bool = option(True, "true or false: lower-case and strip accents first (wordpiece)")

    @property
    def kind(self) -> str:
        """The kind of vocabulary."""
        return self.model_type or self.delimiter or ""

    def check(self) -> None:
        """Flags that contradict each other or would do nothing."""
        if self.corpus_path is None or self.output_path is None:
            return
        if not self.kind:
            raise ConfigError(
                "say what the entries are with --delimiter char, --delimiter space or --model_type."
            )
        if self.delimiter and self.model_type and self.delimiter != self.model_type:
            raise ConfigError(
                f"--delimiter {self.delimiter} and --model_type {self.model_type} are both given; name one."
            )
        if self.merges_path and self.kind != "bpe":
            raise ConfigError(f"--merges_path needs --model_type bpe, not {self.kind}.")
        if not self.do_lower_case and self.kind != "wordpiece":
            raise ConfigError(f"--do_lower_case false needs --model_type wordpiece, not {self.kind}.")
        if self.min_count > 1 and self.kind == "sentencepiece":
            raise ConfigError(
                "--min_count has no meaning for --model_type sentencepiece; choose its --vocab_size."
            )
        if self.workers_num > 1 and self.kind in ("wordpiece", "bpe"):
            raise ConfigError(
                f"--workers_num has no meaning for --model_type {self.kind}, which uses all cores anyway."
            )
