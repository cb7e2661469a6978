"""How a corpus becomes instances, how tokens are masked, and where `preprocess.py` reads and writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from uer.config.options import Options, fraction, not_negative, option, positive
from uer.errors import ConfigError

# Data processor → the targets of 2024 that learn from its instances. `uer.data.objectives` has the classes.
DATA_PROCESSORS: dict[str, tuple[str, ...]] = {
    "bert": ("mlm", "sp"),
    "lm": ("lm",),
    "mlm": ("mlm",),
    "cls": ("cls",),
}
# Those that hide tokens: only for them a dataset is multiplied, masked in advance or at batch time.
MASKED = ("bert", "mlm")
# Those whose second text has a tokenizer of its own.
TWO_TOKENIZERS: tuple[str, ...] = ()
ENCODING_ERRORS = ("strict", "replace", "skip")


@dataclass(frozen=True)
class MaskingOptions(Options):
    """Masking."""

    mask_rate: float = fraction(0.15, "fraction of the tokens to predict")
    whole_word_masking: bool = option(False, "hide whole words (jieba's words in Chinese text)")
    span_masking: bool = option(False, "hide runs of tokens")
    span_geo_prob: float = option(
        0.2,
        "parameter of the geometric distribution of a run's length",
        check=lambda value: 0 < value < 1,
        expected="a number between 0 and 1",
    )
    span_max_length: int = positive(10, "longest run")

    def check(self) -> None:
        """Combinations that make no sense."""
        if self.whole_word_masking and self.span_masking:
            raise ConfigError("--whole_word_masking and --span_masking are both given; choose one of them.")
        if self.mask_rate == 0:
            raise ConfigError("--mask_rate is 0, so there would be nothing to predict; give more.")


@dataclass(frozen=True)
class InstanceOptions(Options):
    """Instances: all that decides what a dataset holds, besides text, tokenizer and masking."""

    data_processor: str = option("bert", "what the model is to learn from", choices=tuple(DATA_PROCESSORS))
    seq_length: int = option(
        128, "longest instance, in tokens", check=lambda value: value >= 5, expected="5 or more"
    )
    tgt_seq_length: int = option(
        128, "longest target, in tokens", check=lambda value: value >= 5, expected="5 or more"
    )
    dup_factor: int = positive(5, "copies of the data, each masked differently (static masking)")
    dynamic_masking: bool = option(False, "mask when a batch is made instead of now; one copy is written")
    short_seq_prob: float = fraction(0.1, "probability of a shorter instance (bert, albert)")
    full_sentences: bool = option(False, "fill instances across documents (mlm, t5)")
    seed: int = not_negative(7, "seed of everything drawn here")

    @property
    def copies(self) -> int:
        """How many times the data is gone through."""
        return 1 if self.dynamic_masking or self.data_processor not in MASKED else self.dup_factor

    def check(self) -> None:
        """Combinations that make no sense."""
        if self.full_sentences and self.data_processor != "mlm":
            raise ConfigError(f"--full_sentences has no meaning for --data_processor {self.data_processor}.")
        if self.dynamic_masking and self.data_processor not in MASKED:
            raise ConfigError(
                f"--dynamic_masking has no meaning for --data_processor {self.data_processor}, "
                "which hides no tokens; leave it out."
            )


@dataclass(frozen=True)
class PreprocessOptions(Options):
    """Pre-processing: what is read, what is written."""

    corpus_path: str | None = option(
        None, "text, one document or sentence a line", required=True, metavar="FILE"
    )
    dataset_path: str = option("dataset.pt", "dataset to write", metavar="FILE")
    processes_num: int = positive(1, "worker processes")
    encoding_errors: str = option(
        "strict",
        "bytes that are not UTF-8: stop, put U+FFFD in their place, or skip the line",
        choices=ENCODING_ERRORS,
    )
    target: tuple[str, ...] = option((), "spelling of --data_processor in UER-py 2021")


def check_combination(files: PreprocessOptions, options: InstanceOptions, tgt_flags: Iterable[str]) -> None:
    """Flags of different groups that contradict each other.

    Args:
        tgt_flags: the typed flags of the target tokenizer.

    Raises:
        ConfigError: naming both.
    """
    made = DATA_PROCESSORS[options.data_processor]
    if set(files.target) - set(made):
        raise ConfigError(
            f"--target {' '.join(files.target)} does not go with --data_processor {options.data_processor}, "
            f"whose instances are for {' '.join(made)}; leave --target out."
        )
    for flag in tgt_flags:
        if options.data_processor not in TWO_TOKENIZERS:
            raise ConfigError(
                f"--{flag} has no meaning for --data_processor {options.data_processor}, "
                "which has no target side; leave it out."
            )
