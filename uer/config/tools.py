"""Tools that look into a model: filled blanks, feature vectors, nearest words, a page; and stacking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from uer.config.options import Options, not_negative, option, positive
from uer.config.training import PRECISIONS
from uer.errors import ConfigError

FEATURE_FORMATS = (".npy", ".parquet")  # by the end of the name; any other name is a file of torch.save


@dataclass(frozen=True)
class ToolFiles(Options):
    """Files and run."""

    load_model_path: str = option(help="the model", required=True, metavar="FILE")
    test_path: str = option(help="texts, one a line; empty lines are skipped", required=True, metavar="FILE")
    batch_size: int = positive(64, "texts of a batch")
    seq_length: int = positive(128, "tokens of a text; what is longer is cut")


@dataclass(frozen=True)
class ClozeOptions(ToolFiles):
    """Filling of blanks."""

    prediction_path: str = option(
        help="the answers go here; -: standard output", required=True, metavar="FILE"
    )
    topn: int = positive(10, "likeliest tokens to write")
    output_prob: bool = option(False, "write token:probability instead of the token alone")
    seed: int = not_negative(7, "of the token that is masked where a line has no [MASK] of its own")


@dataclass(frozen=True)
class FeatureOptions(ToolFiles):
    """Feature vectors."""

    prediction_path: str = option(
        help="the vectors: NAME.npy, NAME.parquet, any other name is written by torch.save",
        required=True,
        metavar="FILE",
    )
    whitening_size: int | None = positive(
        None, "whiten the vectors, keep so many components and norm them (BERT-whitening)"
    )
    last_layers: int = positive(1, "take the mean of the last n layers")
    single_text_sep: bool | None = option(
        None,
        "true or false: a [SEP] behind each text (default: true for dual models, which are trained so; else "
        "false, as in UER-py)",
        bare=True,
    )
    dual_stream: int | None = option(
        None, "the stream of a dual model that reads the texts; default 0", choices=(0, 1)
    )
    precision: str = option(
        "fp32",
        "arithmetic of the matrix products; auto: bf16 where a probe finds it faster",
        choices=PRECISIONS,
    )

    @property
    def form(self) -> str:
        """The form of the file: "npy", "parquet" or "pt"."""
        suffix = PurePath(self.prediction_path).suffix
        return suffix[1:] if suffix in FEATURE_FORMATS else "pt"


@dataclass(frozen=True)
class WordTableOptions(Options):
    """The table of words."""

    load_model_path: str | None = option(None, "the model", required=True, metavar="FILE")
    vocab_path: str | None = option(
        None, "its vocabulary file (default: that of its companion folder)", metavar="FILE"
    )
    spm_model_path: str | None = option(None, "its sentencepiece model", metavar="FILE")

    def check(self) -> None:
        """One vocabulary."""
        if self.vocab_path and self.spm_model_path:
            raise ConfigError("--vocab_path and --spm_model_path are both given; name one of them.")


@dataclass(frozen=True)
class EmbeddingOptions(WordTableOptions):
    """Word vectors."""

    word_embedding_path: str | None = option(
        None, "the vectors go here, in word2vec's text format", required=True, metavar="FILE"
    )


@dataclass(frozen=True)
class NearestWordOptions(WordTableOptions):
    """Nearest words."""

    test_path: str | None = option(None, "words, one a line", required=True, metavar="FILE")
    topn: int = positive(15, "words to print")


@dataclass(frozen=True)
class WordInContextOptions(Options):
    """Nearest words in a context."""

    load_model_path: str = option(help="the model", required=True, metavar="FILE")
    test_path: str = option(help="lines word<TAB>sentence that holds the word", required=True, metavar="FILE")
    cand_vocab_path: str | None = option(
        None, "words that may take its place, one a line", required=True, metavar="FILE"
    )
    batch_size: int = positive(64, "candidates of a batch")
    seq_length: int = positive(128, "tokens of a sentence; what is longer is cut")
    topn: int = positive(15, "words to print")


@dataclass(frozen=True)
class VocabDifferenceOptions(Options):
    """Two vocabularies."""

    vocab_1: str | None = option(None, "a vocabulary file", required=True, metavar="FILE")
    vocab_2: str | None = option(None, "another one", required=True, metavar="FILE")


@dataclass(frozen=True)
class FeatureFiles(Options):
    """Features of several models."""

    train_path: str = option(
        help="labelled rows that the models were trained on", required=True, metavar="FILE"
    )
    train_features_path: str = option(
        help="beginning of the names: PREFIXtrain_features_0.npy, PREFIXtrain_features_1.npy …",
        required=True,
        metavar="PREFIX",
    )
    models_num: int = positive(64, "number of models that gave features")


@dataclass(frozen=True)
class StackingOptions(FeatureFiles):
    """Stacking."""

    test_path: str = option(help="labelled rows to score", required=True, metavar="FILE")
    test_features_path: str = option(
        help="beginning of the names: PREFIXtest_features_0.npy …", required=True, metavar="PREFIX"
    )
    labels_num: int = positive(6, "number of labels (counted in the file unless typed)")
    params_path: str | None = option(
        None, "parameters of LightGBM, a JSON object as run_lgb_cv_bayesopt.py writes it", metavar="FILE"
    )


@dataclass(frozen=True)
class StackingSearchOptions(FeatureFiles):
    """Search of LightGBM's parameters."""

    labels_num: int = positive(2, "number of labels (counted in the file unless typed)")
    folds_num: int = option(
        5, "number of folds", check=lambda value: value > 1, expected="a number greater than 1"
    )
    epochs_num: int = positive(100, "trials of the search")
    params_path: str | None = option(None, "write the best parameters here as JSON", metavar="FILE")
    seed: int = not_negative(7, "of the search")


@dataclass(frozen=True)
class ServeOptions(Options):
    """The page."""

    load_model_path: tuple[str, ...] = option(
        help="one model, or two to see side by side", required=True, metavar="FILE"
    )
    port: int = option(
        8000, "port on this machine; 0: any free one", check=lambda value: 0 <= value < 65536,
        expected="a number from 0 to 65535",
    )  # fmt: skip
    precision: str = option("fp32", "arithmetic of generation", choices=("fp32", "bf16", "int8"))
    seq_length: int = positive(512, "most tokens of a text; a model with fewer positions sets the limit")

    def check(self) -> None:
        """One model or two."""
        if len(self.load_model_path or ()) > 2:
            raise ConfigError(
                f"--load_model_path names {len(self.load_model_path)} models; the page compares two at most."
            )
