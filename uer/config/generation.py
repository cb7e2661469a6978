"""How text is generated and scored: what is read and written, how tokens are chosen."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, fraction, not_negative, option, positive
from uer.errors import ConfigError

FORMATS = ("text", "jsonl")
PRECISIONS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class GenerationFiles(Options):
    """Generation: files and run."""

    load_model_path: str | None = option(None, "the language model", required=True, metavar="FILE")
    test_path: str | None = option(
        None, "prompts, one a line; -: standard input", required=True, metavar="FILE"
    )
    prediction_path: str | None = option(
        None,
        "what was generated, -: to standard output; several prompts: blocks parted by an empty line",
        required=True,
        metavar="FILE",
    )
    batch_size: int = positive(64, "texts that are generated at a time")
    seq_length: int = positive(128, "most tokens of a text, the prompt included")
    output_format: str = option(
        "text", "the prompt and under it all tokens, or a JSON object a text", choices=FORMATS
    )
    output_scores: bool = option(False, "the log-probability of each token too (jsonl)")
    stream: bool = option(
        False, "show the text on the screen while it is written, one prompt after the other"
    )
    precision: str = option(
        "fp32", "arithmetic: exact, or with weights of two bytes or one", choices=PRECISIONS
    )

    def check(self) -> None:
        """Scores need a place to be written to; the screen has room for a text once."""
        if self.output_scores and self.output_format != "jsonl":
            raise ConfigError(
                "--output_scores needs --output_format jsonl; the text format has no place for them."
            )
        if self.stream and self.prediction_path == "-":
            raise ConfigError(
                "--stream shows the texts on the screen, where --prediction_path - writes them once more; "
                "name a file, or leave --stream out."
            )


@dataclass(frozen=True)
class TargetLength(Options):
    """Length of the target."""

    tgt_seq_length: int = positive(128, "most tokens of a generated text, the first one ([CLS]) included")


@dataclass(frozen=True)
class DecodingOptions(Options):
    """How the next token is chosen."""

    top_k: int = not_negative(
        70, "choose among the k likeliest tokens; 1: always the likeliest, 0: among all"
    )
    top_p: float = fraction(
        0.0, "choose among the likeliest tokens that together have this probability; 0: off"
    )
    min_p: float = fraction(0.0, "leave out tokens less likely than this part of the likeliest; 0: off")
    temperature: float = positive(1.0, "below 1 the likely tokens become likelier, above 1 less so")
    repetition_penalty: float = positive(
        1.0, "above 1 tokens that stand in the text already become less likely"
    )
    no_repeat_ngram_size: int = not_negative(0, "no sequence of n tokens comes twice; 0: off")
    beam_size: int = positive(1, "search with so many beams instead of drawing")
    length_penalty: float = option(
        1.0, "beams are compared by log-probability / length^penalty; above 0 longer ones gain"
    )
    samples_num: int = positive(1, "texts for each prompt")
    min_new_tokens: int = not_negative(0, "tokens to generate before a text may end")
    max_new_tokens: int | None = positive(None, "most tokens to generate (default: as the length allows)")
    stop: tuple[str, ...] = option(
        (), "a text ends in front of these strings; special tokens ([SEP]) may be among them", metavar="TEXT"
    )
    allowed_tokens_path: str | None = option(None, "only these tokens may come, one a line", metavar="FILE")
    seed: int | None = not_negative(
        None, "seed of the drawing (default: another one each time, which is said)"
    )

    @property
    def copies(self) -> int:
        """Rows that a prompt takes."""
        return max(self.beam_size, self.samples_num)

    def check(self) -> None:
        """Drawing and searching exclude each other; lengths must leave room."""
        if self.beam_size > 1:
            for name, neutral in (("top_p", 0.0), ("min_p", 0.0), ("temperature", 1.0)):
                value = getattr(self, name)
                if value != neutral:
                    raise ConfigError(
                        f"--{name} {value} is for drawing and --beam_size {self.beam_size} searches; "
                        "leave one of them out."
                    )
            if self.samples_num > self.beam_size:
                raise ConfigError(
                    f"--samples_num {self.samples_num} is more than --beam_size {self.beam_size}: "
                    "a search ends with as many texts as beams; raise --beam_size."
                )
        elif self.length_penalty != 1.0:
            raise ConfigError(f"--length_penalty {self.length_penalty} needs --beam_size of 2 or more.")
        if self.max_new_tokens is not None and self.min_new_tokens > self.max_new_tokens:
            raise ConfigError(
                f"--min_new_tokens {self.min_new_tokens} is more than --max_new_tokens {self.max_new_tokens}."
            )
        if any(not text for text in self.stop):
            raise ConfigError("--stop has an empty string; name the text that ends the generation.")


@dataclass(frozen=True)
class EvaluationOptions(Options):
    """Evaluation of a language model on a text."""

    load_model_path: str | None = option(None, "the language model", required=True, metavar="FILE")
    test_path: str | None = option(None, "text, one document a line", required=True, metavar="FILE")
    batch_size: int = positive(32, "windows of a batch")
    seq_length: int = positive(128, "tokens of a window")
    stride: int | None = positive(
        None, "tokens that the window moves on; the rest is context (default: half of --seq_length)"
    )

    precision: str = option(
        "fp32", "arithmetic, to see what the shorter weights of generate_lm.py cost", choices=PRECISIONS
    )

    def check(self) -> None:
        """The window moves on within itself."""
        if self.stride is not None and self.stride >= self.seq_length:
            raise ConfigError(
                f"--stride {self.stride} must be less than --seq_length {self.seq_length}: "
                "each new token needs at least one before it in the window."
            )
