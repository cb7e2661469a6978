"""How a downstream model is trained: files, rows, choice of the best model, search."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from uer.config.options import Options, fraction, not_negative, option, positive
from uer.config.training import NEWEST
from uer.errors import ConfigError

EARLY_STOPPING = re.compile(r"(?:(\w+):)?([1-9][0-9]*)")

LORA_TARGETS = ("query", "key", "value", "output", "feed_forward")
DISTILLED = ("soft", "cosine", "states", "scores", "attention")
SEARCHES = ("grid", "random", "tpe")
PRUNERS = ("none", "median", "asha")
OVERFLOWS = ("truncate", "window", "drop", "error")


def fold_path(path: str, number: int) -> str:
    """UER's name for the model of a fold: `NAME-fold_K.EXTENSION`."""
    name = PurePath(path)
    return str(name.with_name(f"{name.stem}-fold_{number}{name.suffix}"))


@dataclass(frozen=True)
class RunOptions(Options):
    """Fine-tuning, whatever it reads."""

    pretrained_model_path: str | None = option(None, "start from these weights", metavar="FILE")
    output_model_path: str = option("models/finetuned_model.bin", "the best model goes here", metavar="FILE")
    seq_length: int = positive(128, "tokens of a row; what is longer is cut")
    epochs_num: int = positive(3, "passes over the training file")
    best_metric: str | None = option(
        None, "score that chooses the best model (default: the task's first)", metavar="NAME"
    )
    eval_steps: int | None = positive(None, "evaluate every so many batches (default: after each epoch)")
    early_stopping: str | None = option(
        None,
        "stop after PATIENCE evaluations without a better METRIC",
        check=lambda value: EARLY_STOPPING.fullmatch(value) is not None,
        expected="METRIC:PATIENCE, as in acc:3, or PATIENCE alone",
        metavar="METRIC:PATIENCE",
    )
    overflow: str = option(
        "truncate",
        "what happens to rows longer than --seq_length: cut, read in windows (in training each has the row's "
        "label; elsewhere their mean counts), left out, or an error; the last two for training rows alone",
        choices=OVERFLOWS,
    )
    allow_missing: str | None = option(
        None, "tensors that --pretrained_model_path may lack or have too many of", metavar="REGEX"
    )
    peft: str | None = option(
        None,
        "train low-rank adapters and the head only; the model is saved merged, the adapters beside it in "
        "NAME.adapter",
        choices=("lora",),
    )
    lora_rank: int = positive(8, "rank of the adapters")
    lora_alpha: float = positive(16.0, "what the adapters add is scaled by this over the rank")
    lora_dropout: float = fraction(0.0, "dropout in front of the adapters")
    lora_targets: tuple[str, ...] = option(
        ("query", "value"), "layers of attention, and feed-forward, that have adapters", choices=LORA_TARGETS
    )

    resume: str | None = option(
        None,
        "continue the run of --output_model_path from its newest checkpoint, or from the one named",
        bare=NEWEST,
        metavar="NAME-STEP",
    )
    save_checkpoint_steps: int | None = not_negative(
        None, "a checkpoint to resume from every so many batches; 0: never (default: after each epoch)"
    )

    @property
    def patience(self) -> tuple[str | None, int] | None:
        """Metric (None: the selecting one) and evaluations of `--early_stopping`."""
        if self.early_stopping is None:
            return None
        metric, count = EARLY_STOPPING.fullmatch(self.early_stopping).groups()
        return metric, int(count)

    @property
    def area(self) -> bool:
        """Whether a flag asks for the area under the ROC curve, which keeps a number a row and label."""
        return "auc" in (self.best_metric, self.patience and self.patience[0])


@dataclass(frozen=True)
class FinetuneOptions(RunOptions):
    """Fine-tuning."""

    train_path: str = option(help="training file", required=True, metavar="FILE")
    dev_path: str = option(
        help="development file, which chooses the best model", required=True, metavar="FILE"
    )
    test_path: str | None = option(None, "test file, evaluated at the end by the best model", metavar="FILE")


@dataclass(frozen=True)
class SimcseRunOptions(FinetuneOptions):
    """Fine-tuning of vectors."""

    eval_steps: int | None = positive(200, "evaluate every so many batches, and at the end")


@dataclass(frozen=True)
class PromptRunOptions(FinetuneOptions):
    """Fine-tuning of prompts."""

    epochs_num: int = not_negative(3, "passes over the training file; 0: only evaluate what was pre-trained")


@dataclass(frozen=True)
class CrossValidationOptions(RunOptions):
    """Cross validation."""

    train_path: str = option(help="file that is cut into folds", required=True, metavar="FILE")
    train_features_path: str = option(
        help="probabilities of each row by the fold that did not see it (npy)", required=True, metavar="FILE"
    )
    output_model_path: str = option(
        "models/classifier_model.bin", "models go to NAME-fold_K.EXTENSION", metavar="FILE"
    )
    folds_num: int = option(
        5, "number of folds", check=lambda value: value > 1, expected="a number greater than 1"
    )

    def check(self) -> None:
        """The last epoch counts, so nothing can be chosen."""
        for name in ("best_metric", "eval_steps", "early_stopping"):
            if getattr(self, name) is not None:
                raise ConfigError(
                    f"--{name} would choose a model by the very rows it is scored on; in cross validation "
                    "the last epoch counts, leave it out."
                )
        if self.overflow == "drop":
            raise ConfigError("--overflow drop would leave rows without features; choose another one.")
        if self.resume not in (None, NEWEST):
            raise ConfigError(
                f"--resume {self.resume} names one checkpoint, and each fold has its own; type --resume "
                "alone."
            )


@dataclass(frozen=True)
class MultiTaskOptions(RunOptions):
    """Fine-tuning on several data sets."""

    dataset_path_list: tuple[str, ...] = option(
        (), "folders with train.tsv and dev.tsv, one a data set", required=True, metavar="FOLDER"
    )
    output_model_path: str = option(
        "models/multitask_classifier_model.bin", "the best model goes here", metavar="FILE"
    )

    def check(self) -> None:
        """No folder twice."""
        if len(set(self.dataset_path_list)) != len(self.dataset_path_list):
            raise ConfigError(
                f"--dataset_path_list names a folder twice: {' '.join(self.dataset_path_list)}."
            )


@dataclass(frozen=True)
class ClassifierOptions(Options):
    """Classification."""

    soft_targets: bool = option(False, "learn from the column 'logits' of the training file too")
    soft_alpha: float = fraction(0.5, "share of --soft_targets in the loss")
    class_weights: bool = option(False, "rare labels weigh more in the loss: n / (C * rows of the label)")


@dataclass(frozen=True)
class DistillOptions(Options):
    """Distillation."""

    teacher_path: str = option(
        help="a fine-tuned classifier of the same labels and vocabulary", required=True, metavar="FILE"
    )
    distill: tuple[str, ...] = option(
        ("soft",),
        "what is learnt from the teacher: its guesses (soft; --soft_temperature), last states (cosine), all "
        "states, attention scores, last attention; without soft the head is not trained",
        choices=DISTILLED,
    )
    hard_share: float = fraction(0.0, "share of the true labels in the loss beside the guesses")

    def check(self) -> None:
        """Labels are for heads."""
        if self.hard_share and "soft" not in self.distill:
            raise ConfigError(
                "--hard_share trains the head on true labels, beside --distill soft; add soft, or leave it "
                "out."
            )
        if len(set(self.distill)) != len(self.distill):
            raise ConfigError(f"--distill names something twice: {' '.join(self.distill)}.")


@dataclass(frozen=True)
class SingleTextOptions(Options):
    """Single texts."""

    single_text_sep: bool = option(
        True, "true or false: a [SEP] behind a single text; UER-py 2021 had none (prediction: as trained)"
    )


@dataclass(frozen=True)
class MultiLabelOptions(Options):
    """Several labels a row."""

    threshold: float = fraction(0.5, "a label is predicted where its probability is greater")
    choose_threshold: bool = option(
        False, "take the threshold with the best score on the development file instead"
    )


@dataclass(frozen=True)
class SiameseOptions(Options):
    """Siamese networks."""

    objective: str = option(
        "classification",
        "what is learnt: the class of a pair from both vectors, or the cosine of the vectors (labels are "
        "numbers from 0 on, as in STS)",
        choices=("classification", "cosine"),
    )
    class_weights: bool = option(False, "rare labels weigh more in the loss: n / (C * rows of the label)")

    def check(self) -> None:
        """Numbers are no classes."""
        if self.class_weights and self.objective == "cosine":
            raise ConfigError("--class_weights weighs classes; --objective cosine has none, leave it out.")


@dataclass(frozen=True)
class PromptOptions(Options):
    """Prompts."""

    prompt_id: str = option("chnsenticorp_char", "which of the prompts of --prompt_path", metavar="NAME")
    prompt_path: str = option(
        "models/prompts.json", "JSON object: name → template and answer words", metavar="FILE"
    )


@dataclass(frozen=True)
class SimcseOptions(Options):
    """Contrastive learning."""

    temperature: float = positive(0.05, "cosines are divided by this in the loss")


@dataclass(frozen=True)
class NerOptions(Options):
    """Tagging."""

    label2id_path: str | None = option(
        None, "JSON object tag → id from 0 (default: the tags of the training file)", metavar="FILE"
    )
    crf_target: bool = option(False, "a conditional random field over the tags")
    special_tokens: bool = option(
        False, "put [CLS] and [SEP] around a row, as models of Hugging Face were fine-tuned"
    )


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

    search: str | None = option(
        None,
        "how trials are chosen, each then a process of its own: grid (all combinations), random, or tpe "
        "(from what earlier trials gave); default: the lists, one trial after another",
        choices=SEARCHES,
    )
    search_space: tuple[str, ...] = option(
        (),
        "flags to search, as 'learning_rate=loguniform(1e-5,1e-3)', 'dropout=uniform(0,0.3)', "
        "'epochs_num=int(1,5)', 'batch_size=choice(16,32)' (default: the lists)",
        metavar="FLAG=KIND(VALUES)",
    )
    trials_num: int = positive(20, "trials of --search random and tpe")
    pruner: str = option(
        "none", "give trials up early whose scores fall behind: median or asha", choices=PRUNERS
    )
    workers_num: int | None = positive(None, "trials at a time (default: one a GPU, else one a core)")
    study_path: str | None = option(
        None, "data base of --search (sqlite); a search that is started again goes on from it", metavar="FILE"
    )

    def check(self) -> None:
        """Nothing is tried twice."""
        for name in ("batch_size_list", "learning_rate_list", "epochs_num_list"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ConfigError(f"--{name} names a value twice: {' '.join(map(str, values))}.")
        if self.search is None:
            for name in ("search_space", "study_path", "workers_num"):
                if getattr(self, name):
                    raise ConfigError(f"--{name} is for --search grid, random or tpe; name one of them.")
            if self.pruner != "none":
                raise ConfigError("--pruner is for --search grid, random or tpe; name one of them.")
