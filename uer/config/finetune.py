"""How a downstream model is trained: files, rows, choice of the best model, search."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, fraction, option, positive
from uer.errors import ConfigError


@dataclass(frozen=True)
class FinetuneOptions(Options):
    """Fine-tuning."""

    train_path: str = option(help="training file", required=True, metavar="FILE")
    dev_path: str = option(
        help="development file, which chooses the best epoch", required=True, metavar="FILE"
    )
    test_path: str | None = option(None, "test file, evaluated at the end by the best model", metavar="FILE")
    pretrained_model_path: str | None = option(None, "start from these weights", metavar="FILE")
    output_model_path: str = option("models/finetuned_model.bin", "the best model goes here", metavar="FILE")
    seq_length: int = positive(128, "tokens of a row; what is longer is cut")
    epochs_num: int = positive(3, "passes over the training file")
    best_metric: str | None = option(
        None, "score that chooses the best epoch (default: the task's first)", metavar="NAME"
    )
    allow_missing: str | None = option(
        None, "tensors that --pretrained_model_path may lack or have too many of", metavar="REGEX"
    )


@dataclass(frozen=True)
class ClassifierOptions(Options):
    """Classification."""

    soft_targets: bool = option(False, "learn from the column 'logits' of the training file too")
    soft_alpha: float = fraction(0.5, "share of --soft_targets in the loss")
    single_text_sep: bool = option(True, "true or false: a [SEP] behind a single text (UER-py 2021 had none)")


@dataclass(frozen=True)
class GridOptions(Options):
    """Grid search."""

    batch_size_list: tuple[int, ...] = positive((32, 64), "batch sizes to try")
    learning_rate_list: tuple[float, ...] = positive((3e-5, 1e-4, 3e-4), "learning rates to try")
    epochs_num_list: tuple[int, ...] = positive((3, 5, 8), "numbers of epochs to try")
    grid_path: str | None = option(
        None,
        "finished trials are kept here, a table; a search that is started again goes on from it",
        metavar="FILE",
    )

    def check(self) -> None:
        """Nothing is tried twice."""
        for name in ("batch_size_list", "learning_rate_list", "epochs_num_list"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ConfigError(f"--{name} names a value twice: {' '.join(map(str, values))}.")
