"""How a corpus becomes instances, how tokens are masked, and where `preprocess.py` reads and writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from uer.config.model import TARGETS
from uer.config.options import Options, fraction, not_negative, option, positive
from uer.errors import ConfigError, suggestion

# Data processor → the targets of 2024 that learn from its instances. `uer.data.objectives` has the classes.
DATA_PROCESSORS: dict[str, tuple[str, ...]] = {
    "bert": ("mlm", "sp"),
    "lm": ("lm",),
    "mlm": ("mlm",),
    "bilm": ("bilm",),
    "albert": ("mlm", "sp"),
    "mt": ("lm",),
    "t5": ("lm",),
    "cls": ("cls",),
    "prefixlm": ("lm",),
    "gsg": ("lm",),
    "bart": ("lm",),
    "cls_mlm": ("mlm", "cls"),
    "skep": ("mlm", "polarity", "pair"),
    "electra": ("rtd",),
    "ernie_health": ("rtd", "mts", "csp"),
    "structbert": ("mlm", "sp"),
    "pert": ("pert",),
}
# Those that hide tokens, in advance or when a batch is made.
MASKED = ("bert", "mlm", "albert", "t5", "bart", "cls_mlm", "skep")
# Those that draw when a batch is made, whatever --dynamic_masking says: one copy of the data is enough.
DRAWN = ("electra", "ernie_health", "structbert", "pert")
MASKED += DRAWN
# Those that go through the data --dup_factor times; what bart draws it draws when a batch is made.
MULTIPLIED = ("bert", "mlm", "albert", "t5", "gsg", "skep")
# Those that tell more than two kinds of pairs apart, for --sp_labels_num.
PAIR_KINDS = {"structbert": 3}
# Those whose second text has a tokenizer of its own.
TWO_TOKENIZERS = ("mt",)
# Those whose targets have a longest length of their own, --tgt_seq_length.
TARGETS_CUT = ("mt", "gsg")
PACKABLE = ("lm", "mlm", "cls", "electra")
# Those whose instances are blocks of text, which may run across documents.
BLOCKS = ("mlm", "t5", "electra", "ernie_health", "pert")
# Those that make pairs of chunks, some of them shorter.
CHUNKS = ("bert", "albert", "structbert")
ENCODING_ERRORS = ("strict", "replace", "skip")
# What happens to a text that is longer than an instance, where --overflow does not say; as in UER.
OVERFLOW_DEFAULTS = {
    "lm": "split",
    "mlm": "split",
    "skep": "split",
    "electra": "split",
    "ernie_health": "split",
    "pert": "split",
    "bilm": "split",
    "t5": "split",
    "gsg": "drop",
    "bart": "drop",
    "prefixlm": "truncate",
}
OVERFLOWS = ("truncate", "split", "drop", "error")
# Rows of two columns cannot be split.
UNSPLITTABLE = ("mt", "cls", "prefixlm", "cls_mlm")
# What may be hidden together; one of them.
UNIT_FLAGS = ("whole_word_masking", "span_masking", "knowledge_masking")


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
    knowledge_masking: bool = option(
        False, "hide whole phrases and entities, of --knowledge_path or of the corpus' field spans (ERNIE)"
    )
    knowledge_path: tuple[str, ...] = option(
        (), "lists of entities and phrases, `entry` or `entry<TAB>phrase` a line, or .jsonl", metavar="FILE"
    )
    knowledge_levels: tuple[float, ...] = option(
        (1.0, 1.0, 1.0),
        "shares of the rows in which basic units, phrases, entities are hidden",
        check=lambda value: value >= 0,
        expected="a number of 0 or more",
        metavar="SHARE",
    )

    ngram_shares: tuple[float, ...] = option(
        (),
        "hide runs of 1, 2, … words (of tokens without --whole_word_masking): what share of the runs is how "
        "long (MacBERT: 0.4 0.3 0.2 0.1)",
        check=lambda value: value >= 0,
        expected="a number of 0 or more",
        metavar="SHARE",
    )
    similar_words_path: tuple[str, ...] = option(
        (),
        "instead of hiding a word put a similar one: lists of them, `word<TAB>similar similar …` a line, or "
        "word vectors as text (MacBERT)",
        metavar="FILE",
    )
    trigram_rate: float = fraction(0.05, "share of the tri-grams whose tokens change places (structbert)")

    @property
    def units(self) -> list[str]:
        """The flags that say what is hidden together."""
        return [name for name in UNIT_FLAGS if getattr(self, name)]

    def check(self) -> None:
        """Combinations that make no sense."""
        if len(self.units) > 1:
            raise ConfigError(f"--{self.units[0]} and --{self.units[1]} are both given; choose one of them.")
        self._check_ngrams()
        for name in ("knowledge_path", "knowledge_levels"):
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default and not self.knowledge_masking:
                raise ConfigError(f"--{name} has no meaning without --knowledge_masking; add it.")
        if len(self.knowledge_levels) != 3 or not sum(self.knowledge_levels):
            raise ConfigError(
                f"--knowledge_levels is {' '.join(f'{share:g}' for share in self.knowledge_levels)}; give "
                "three shares, of basic units, phrases and entities, not all 0."
            )
        if self.mask_rate == 0:
            raise ConfigError("--mask_rate is 0, so there would be nothing to predict; give more.")

    def _check_ngrams(self) -> None:
        other = next((name for name in self.units if name != "whole_word_masking"), None)
        if self.ngram_shares and other:
            raise ConfigError(f"--ngram_shares and --{other} are both given; choose one of them.")
        if self.ngram_shares and not sum(self.ngram_shares):
            raise ConfigError("--ngram_shares are all 0, so there would be nothing to hide; give more.")


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
    short_seq_prob: float = fraction(0.1, f"probability of a shorter instance ({', '.join(CHUNKS)})")
    full_sentences: bool = option(False, f"fill instances across documents ({', '.join(BLOCKS)})")
    sentence_selection_strategy: str = option(
        "lead", "which sentences are taken out as the target (gsg)", choices=("lead", "random")
    )
    packing: bool = option(
        False, f"put short documents into one row, where they do not see each other ({', '.join(PACKABLE)})"
    )
    overflow: str | None = option(
        None,
        "texts longer than an instance: cut their ends off, split them, drop them, or stop; "
        "by default gsg and bart drop, prefixlm, mt, cls and pairs of sentences truncate, the others split",
        choices=OVERFLOWS,
    )
    sentiment_path: tuple[str, ...] = option(
        (),
        "lists of sentiment words, `word<TAB>positive` or `word<TAB>negative` a line (skep)",
        metavar="FILE",
    )
    pair_path: tuple[str, ...] = option(
        (), "lists of pairs, `aspect<TAB>opinion` a line (skep)", metavar="FILE"
    )
    pair_distance: int = not_negative(3, "most tokens between the two of a pair (skep)")
    seed: int = not_negative(7, "seed of everything drawn here")

    @property
    def copies(self) -> int:
        """How many times the data is gone through."""
        return 1 if self.dynamic_masking or self.data_processor not in MULTIPLIED else self.dup_factor

    @property
    def on_overflow(self) -> str:
        """What happens to a text that is longer than an instance."""
        return self.overflow or OVERFLOW_DEFAULTS.get(self.data_processor, "truncate")

    def check(self) -> None:
        """Combinations that make no sense."""
        name = self.data_processor
        for flag, given, served in (
            ("full_sentences", self.full_sentences, BLOCKS),
            ("dynamic_masking", self.dynamic_masking, MASKED),
            ("packing", self.packing, PACKABLE),
            ("sentence_selection_strategy", self.sentence_selection_strategy != "lead", ("gsg",)),
            ("short_seq_prob", self.short_seq_prob != 0.1, CHUNKS),
            ("sentiment_path", self.sentiment_path, ("skep",)),
            ("pair_path", self.pair_path, ("skep",)),
            ("pair_distance", self.pair_distance != 3, ("skep",)),
        ):
            if given and name not in served:
                raise ConfigError(
                    f"--{flag} has no meaning for --data_processor {name}, only for {', '.join(served)}; "
                    "leave it out."
                )
        if name == "skep" and not self.sentiment_path:
            raise ConfigError(
                "--data_processor skep needs sentiment words; give their list with --sentiment_path."
            )
        if self.full_sentences and self.packing:
            raise ConfigError("--full_sentences and --packing are two ways to fill rows; choose one of them.")
        if self.overflow == "split" and name in UNSPLITTABLE:
            raise ConfigError(
                f"--overflow split has no meaning for --data_processor {name}, whose rows are whole."
            )


@dataclass(frozen=True)
class PreprocessOptions(Options):
    """Pre-processing: what is read, what is written."""

    corpus_path: tuple[str, ...] | None = option(
        None,
        "text, one document or sentence a line; several files or patterns; .jsonl, .tsv, .parquet, .gz, .zst",
        required=True,
        metavar="FILE",
    )
    corpus_weights: tuple[float, ...] = option(
        (),
        "share of each of them in what is trained on; smaller shares are repeated less",
        check=lambda value: value > 0,
        expected="a number greater than 0",
        metavar="SHARE",
    )
    dataset_path: str = option("dataset.pt", "dataset to write", metavar="FILE")
    processes_num: int = positive(1, "worker processes")
    encoding_errors: str = option(
        "strict",
        "bytes that are not UTF-8: stop, put U+FFFD in their place, or skip the line",
        choices=ENCODING_ERRORS,
    )
    target: tuple[str, ...] = option((), "spelling of --data_processor in UER-py 2021")

    def check(self) -> None:
        """Combinations that make no sense."""
        words = len(self.corpus_path or ())
        if self.corpus_weights and len(self.corpus_weights) != words:
            raise ConfigError(
                f"--corpus_weights has {len(self.corpus_weights)} numbers and --corpus_path {words} words; "
                "give one share for each."
            )


def check_json_names(files: PreprocessOptions) -> None:
    """What `--json_format_corpus` says must be said by the names of the corpus.

    Raises:
        ConfigError: naming the file.
    """
    for path in files.corpus_path or ():
        if not {".json", ".jsonl"} & set(PurePath(path).suffixes):
            raise ConfigError(
                f"--json_format_corpus: {path} is read as plain text, since its name does not end in .jsonl "
                "(or .json); rename it."
            )


def check_combination(files: PreprocessOptions, options: InstanceOptions, tgt_flags: Iterable[str]) -> None:
    """Flags of different groups that contradict each other.

    Args:
        tgt_flags: the typed flags of the target tokenizer.

    Raises:
        ConfigError: naming both.
    """
    made = DATA_PROCESSORS[options.data_processor]
    if unknown := next((name for name in files.target if name not in TARGETS), None):
        raise ConfigError(
            f"--target is '{unknown}'; name a data processor by --data_processor: "
            f"{', '.join(DATA_PROCESSORS)}.{suggestion(unknown, DATA_PROCESSORS)}"
        )
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
