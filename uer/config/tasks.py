"""What only one task has: multiple choice, questions about a text, text to text."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.finetune import OVERFLOWS, FinetuneOptions
from uer.config.options import Options, option, positive
from uer.errors import ConfigError

QA_METRICS = ("cmrc", "squad", "uer")


@dataclass(frozen=True)
class ChoiceOptions(Options):
    """Multiple choice."""

    max_choices_num: int = positive(4, "most choices of a question; more are an error")


@dataclass(frozen=True)
class IdiomOptions(Options):
    """Idioms."""

    max_choices_num: int = positive(10, "most candidates of a blank; more are an error")


@dataclass(frozen=True)
class AnswerFiles(FinetuneOptions):
    """Fine-tuning."""

    train_answer_path: str = option(
        help="JSON object blank → number of its candidate", required=True, metavar="FILE"
    )
    dev_answer_path: str = option(help="the same for --dev_path", required=True, metavar="FILE")
    test_answer_path: str | None = option(None, "the same for --test_path", metavar="FILE")

    def check(self) -> None:
        """A test needs its answers."""
        if (self.test_path is None) != (self.test_answer_path is None):
            raise ConfigError("--test_path and --test_answer_path belong together; give both or neither.")


@dataclass(frozen=True)
class QaRunOptions(FinetuneOptions):
    """Fine-tuning."""

    overflow: str = option(
        "window",
        "what happens to texts longer than --seq_length: read in windows, only their beginning, or in "
        "training left out, or an error",
        choices=OVERFLOWS,
    )


@dataclass(frozen=True)
class QaOptions(Options):
    """Questions about a text."""

    doc_stride: int = positive(128, "tokens from the start of one window of a text to that of the next")
    max_answer_length: int = positive(
        64, "most tokens of a predicted answer (prediction: as trained unless typed)"
    )
    null_threshold: float = option(
        0.0, "where questions may lack an answer: none is predicted if it scores so much above the best one"
    )


@dataclass(frozen=True)
class QaScoreOptions(Options):
    """Scores of answers."""

    qa_metric: str = option(
        "cmrc", "definition of F1 and exact match: CMRC 2018's, SQuAD's, UER-py's", choices=QA_METRICS
    )


@dataclass(frozen=True)
class QaInferenceOptions(QaOptions):
    """Questions about a text."""

    nbest_num: int = positive(1, "answers of a question that are written to --nbest_path")
    nbest_path: str | None = option(
        None, "the best answers of each question with their scores (JSON)", metavar="FILE"
    )

    def check(self) -> None:
        """The number needs a place."""
        if self.nbest_num > 1 and self.nbest_path is None:
            raise ConfigError(f"--nbest_num {self.nbest_num} needs --nbest_path, the file they go to.")


@dataclass(frozen=True)
class Text2textOptions(Options):
    """Text to text."""

    tgt_seq_length: int = positive(32, "tokens of a target, [CLS] and [SEP] included; what is longer is cut")
    prefix: str = option(
        "", "stands before every source, as in 'translate: ' (prediction: as trained)", metavar="TEXT"
    )
    beam_size: int = positive(1, "search for the target with so many beams; 1: the likeliest token each time")
    length_penalty: float = option(
        1.0, "beams are compared by log-probability / length^penalty; above 0 longer ones gain"
    )

    def check(self) -> None:
        """Lengths must leave room; a penalty compares beams."""
        if self.tgt_seq_length < 2:
            raise ConfigError(
                f"--tgt_seq_length {self.tgt_seq_length} has no room for a token; give 2 or more."
            )
        if self.beam_size == 1 and self.length_penalty != 1.0:
            raise ConfigError(f"--length_penalty {self.length_penalty} needs --beam_size of 2 or more.")
