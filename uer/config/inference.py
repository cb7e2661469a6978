"""How a downstream model is used: what it reads and what it writes."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, fraction, option, positive
from uer.config.training import PRECISIONS
from uer.errors import ConfigError

PIPE = "-"  # standard input or output in place of a file


@dataclass(frozen=True)
class PredictorOptions(Options):
    """Prediction, wherever it goes."""

    load_model_path: str = option(help="model that fine-tuning saved", required=True, metavar="FILE")
    test_path: str = option(help="rows to predict; -: standard input", required=True, metavar="FILE")
    batch_size: int = positive(64, "rows of a batch")
    seq_length: int = positive(128, "tokens of a row (default: as the model was trained, else 128)")
    precision: str = option(
        "fp32",
        "arithmetic of the matrix products; auto: bf16 where a probe finds it faster",
        choices=PRECISIONS,
    )


@dataclass(frozen=True)
class DocumentOptions(PredictorOptions):
    """Prediction."""

    prediction_path: str | None = option(
        None, "predictions; -: standard output, which is the default for --test_path -", metavar="FILE"
    )

    def check(self) -> None:
        """The predictions go somewhere."""
        if self.prediction_path is None and self.test_path != PIPE and self.test_path is not None:
            raise ConfigError("--prediction_path must be given; --prediction_path - is standard output.")

    @property
    def output(self) -> str:
        """Where the predictions go: a path, or `PIPE`."""
        return self.prediction_path or PIPE


@dataclass(frozen=True)
class InferenceOptions(DocumentOptions):
    """Prediction of the rows of a table."""

    keep_columns: tuple[str, ...] = option(
        (), "columns of the input to copy behind the predictions", metavar="NAME"
    )


@dataclass(frozen=True)
class KeptKeyOptions(DocumentOptions):
    """Prediction of the questions of a document."""

    keep_columns: tuple[str, ...] = option(
        (), "keys of the questions to copy behind the predictions", metavar="NAME"
    )


@dataclass(frozen=True)
class VectorInferenceOptions(PredictorOptions):
    """Vectors of texts."""

    vectors_path: str = option(
        help="vectors of all texts, float32 [rows, texts, width] (npy)", required=True, metavar="FILE"
    )
    prediction_path: str | None = option(
        None, "write the cosines of pairs too; -: standard output", metavar="FILE"
    )
    keep_columns: tuple[str, ...] = option(
        (), "columns of the input to copy behind the cosines", metavar="NAME"
    )

    def check(self) -> None:
        """Columns are copied into a file."""
        if self.keep_columns and self.prediction_path is None:
            raise ConfigError(
                "--keep_columns copies columns to --prediction_path, which is not given; name it."
            )


@dataclass(frozen=True)
class FoldOptions(PredictorOptions):
    """Prediction by the models of a cross validation."""

    test_features_path: str = option(
        help="mean probabilities of each row over the folds (npy)", required=True, metavar="FILE"
    )
    folds_num: int = positive(5, "number of folds (default: as many as were trained, else 5)")


@dataclass(frozen=True)
class LongRowOptions(Options):
    """Long rows."""

    overflow: str = option(
        "truncate",
        "rows longer than --seq_length are cut, or read in windows and what these give is put together "
        "(default: as the model was trained)",
        choices=("truncate", "window"),
    )


@dataclass(frozen=True)
class ScoreOutputOptions(Options):
    """What is written besides labels."""

    output_logits: bool = option(False, "write the logits too")
    output_prob: bool = option(False, "write the probabilities too")


@dataclass(frozen=True)
class VectorOptions(Options):
    """Vectors."""

    vectors_path: str | None = option(
        None, "write the vectors of all texts too, float32 [rows, texts, width] (npy)", metavar="FILE"
    )


@dataclass(frozen=True)
class ThresholdOptions(Options):
    """Decision."""

    threshold: float = fraction(
        0.5, "a label is predicted where its probability is greater (default: as the model was saved)"
    )


@dataclass(frozen=True)
class NerInferenceOptions(Options):
    """Tagging."""

    label2id_path: str | None = option(
        None, "JSON object tag → id, for a model without companion folder", metavar="FILE"
    )
    crf_target: bool = option(False, "the model has a conditional random field (default: as it was trained)")
    special_tokens: bool = option(False, "[CLS] and [SEP] around a row (default: as the model was trained)")


@dataclass(frozen=True)
class MultiTaskInferenceOptions(Options):
    """Several data sets."""

    labels_num_list: tuple[int, ...] = positive(
        (), "number of labels of each data set (default: as the model was trained)"
    )
