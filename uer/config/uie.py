"""What extraction by prompts has of its own."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.inference import DocumentOptions
from uer.config.options import Options, fraction, not_negative, option, positive
from uer.config.tasks import QaRunOptions

LANGUAGES = ("zh", "en")


@dataclass(frozen=True)
class UieRunOptions(QaRunOptions):
    """Fine-tuning."""

    seq_length: int = positive(512, "tokens of a window, prompt included")


@dataclass(frozen=True)
class UieOptions(Options):
    """Extraction by prompts."""

    threshold: float = fraction(0.5, "a token begins or ends an answer where its probability is greater")
    negative_ratio: int = not_negative(
        0,
        "add prompts without an answer to the training file: what it asks of other texts, at most so many "
        "for each prompt that has an answer",
    )
    schema_lang: str = option(
        "zh",
        "how a prompt asks what an answer is related to: 'X的RELATION', or 'RELATION of X' (prediction: as "
        "trained)",
        choices=LANGUAGES,
    )


@dataclass(frozen=True)
class UieFiles(DocumentOptions):
    """Prediction."""

    test_path: str = option(
        help='texts, a JSON object {"content": …} a line; -: standard input', required=True, metavar="FILE"
    )
    seq_length: int = positive(
        512, "tokens of a window, prompt included (default: as the model was trained, else 512 at most)"
    )


@dataclass(frozen=True)
class UieInferenceOptions(Options):
    """Extraction by prompts."""

    schema_path: str | None = option(
        None,
        "what to extract (JSON): names, and objects name → names that are asked of each answer; without it "
        "each row of --test_path has a prompt of its own",
        metavar="FILE",
    )
    threshold: float = fraction(
        0.5, "a token begins or ends an answer where its probability is greater (default: as trained)"
    )
    schema_lang: str = option(
        "zh", "'X的RELATION', or 'RELATION of X' (default: as trained)", choices=LANGUAGES
    )
